package probetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// echoConfig is the configuration of the two small kinds that the suite is tried on.
type echoConfig struct {
	Count    int           `yaml:"count" help:"how many requests" min:"1" max:"1000"`
	Interval time.Duration `yaml:"interval" help:"time between two requests" min:"1ms" max:"1h"`
}

// Timeout implements probes.Config.
func (c *echoConfig) Timeout() time.Duration {
	return time.Duration(c.Count)*c.Interval + 2*time.Second
}

func echoDefaults() echoConfig { return echoConfig{Count: 10, Interval: 100 * time.Millisecond} }

// packetKind sends numbered datagrams and waits for each to come back.
func packetKind() probes.Kind {
	return probes.Define(probes.Kind{
		Name: "packetecho", Summary: "echo of datagrams", Help: "For tests.", Example: "nrprobe probe packetecho 127.0.0.1",
		Port: 8620, Metrics: []*probes.Metric{probes.RTT, probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost},
	}, echoDefaults, func(c echoConfig, env probes.Env, target probes.Target) (probes.Probe, error) {
		return probes.ProbeFunc(func(ctx context.Context, r *probes.Recorder) error {
			conn, err := dial(ctx, env, "udp", target)
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(0, 0)) })()
			return sendPackets(ctx, c, conn, r)
		}), nil
	})
}

func dial(ctx context.Context, env probes.Env, network string, target probes.Target) (net.Conn, error) {
	addrs, err := env.Net.Resolve(ctx, target.Host)
	if err != nil {
		return nil, err
	}
	target.Host = addrs[0].String()
	return env.Net.Dial(ctx, network, target.Address())
}

func sendPackets(ctx context.Context, c echoConfig, conn net.Conn, r *probes.Recorder) error {
	received := 0
	for i := range uint64(c.Count) {
		request := binary.BigEndian.AppendUint64([]byte("echo"), i)
		start := time.Now()
		if _, err := conn.Write(request); err != nil {
			return err
		}
		r.Add(probes.PacketsSent, probes.Both, 1)
		if ctx.Err() == nil {
			_ = conn.SetReadDeadline(start.Add(c.Interval))
		}
		for b := make([]byte, 2048); ctx.Err() == nil; {
			n, err := conn.Read(b)
			if err != nil {
				break
			}
			if bytes.Equal(b[:n], request) {
				r.ObserveDuration(probes.RTT, probes.Both, time.Since(start))
				r.Add(probes.PacketsReceived, probes.Both, 1)
				received++
				break
			}
		}
		select {
		case <-time.After(time.Until(start.Add(c.Interval))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if received == 0 {
		return probes.Fail(probes.Timeout, "no packet came back")
	}
	return nil
}

func packetFarEnd() farend.Service {
	return farend.Service{Name: "packetecho", Packets: func(ctx context.Context, pc net.PacketConn) error {
		defer context.AfterFunc(ctx, func() { _ = pc.SetReadDeadline(time.Unix(0, 0)) })()
		for b := make([]byte, 2048); ; {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return ctx.Err()
			}
			_, _ = pc.WriteTo(b[:n], from)
		}
	}}
}

// streamKind does the same over one TCP connection.
func streamKind() probes.Kind {
	return probes.Define(probes.Kind{
		Name: "streamecho", Summary: "echo of a stream", Help: "For tests.", Example: "nrprobe probe streamecho 127.0.0.1",
		Port: 8620, Metrics: []*probes.Metric{probes.RTT, probes.ConnectTime},
	}, echoDefaults, func(c echoConfig, env probes.Env, target probes.Target) (probes.Probe, error) {
		return probes.ProbeFunc(func(ctx context.Context, r *probes.Recorder) error {
			start := time.Now()
			conn, err := dial(ctx, env, "tcp", target)
			if err != nil {
				return err
			}
			defer conn.Close()
			r.ObserveDuration(probes.ConnectTime, probes.Both, time.Since(start))
			defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(0, 0)) })()
			err = sendLines(c, conn, r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}), nil
	})
}

func sendLines(c echoConfig, conn net.Conn, r *probes.Recorder) error {
	if _, err := io.WriteString(conn, farend.PreambleEcho); err != nil {
		return err
	}
	for i := range uint64(c.Count) {
		request := binary.BigEndian.AppendUint64([]byte("echo"), i)
		start := time.Now()
		if _, err := conn.Write(request); err != nil {
			return err
		}
		reply := make([]byte, len(request))
		if _, err := io.ReadFull(conn, reply); err != nil {
			return err
		}
		if !bytes.Equal(request, reply) {
			return probes.Fail(probes.Invalid, "the echo differs")
		}
		r.ObserveDuration(probes.RTT, probes.Both, time.Since(start))
	}
	return nil
}

func streamFarEnd() farend.Service {
	return farend.Service{Name: "streamecho", Streams: map[string]func(context.Context, net.Conn) error{
		farend.PreambleEcho: func(ctx context.Context, c net.Conn) error {
			defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(0, 0)) })()
			_, err := io.Copy(c, c)
			return err
		},
	}}
}

func TestSuiteOnDatagrams(t *testing.T) {
	Suite{Kind: packetKind(), FarEnd: packetFarEnd()}.Run(t)
}

func TestSuiteOnStreams(t *testing.T) {
	Suite{
		Kind: streamKind(), FarEnd: streamFarEnd(), Closed: probes.Refused,
		Config: func(c any) { c.(*echoConfig).Count = 3 },
	}.Run(t)
}

func TestChecksFindWhatIsWrong(t *testing.T) {
	kind := packetKind()
	result := func(change func(*probes.Recorder), err error) *probes.Result {
		var got *probes.Result
		runner := probes.Runner{Agent: "edge"}
		job := probes.Job{Timeout: time.Hour, Probe: probes.ProbeFunc(func(_ context.Context, r *probes.Recorder) error {
			change(r)
			return err
		})}
		runner.Run(t.Context(), job, func(r *probes.Result) { got = r })
		return got
	}
	rtt := func(d time.Duration) func(*probes.Recorder) {
		return func(r *probes.Recorder) { r.ObserveDuration(probes.RTT, probes.Both, d) }
	}
	foreign := result(func(r *probes.Recorder) { r.Add(probes.Transferred, probes.Up, 1) }, nil)
	unknown := result(rtt(2*Delay), nil)
	unknown.Values["latency_ms"] = 12
	infinite := result(rtt(2*Delay), nil)
	infinite.Values["rtt_max_seconds"] = math.Inf(1)
	negative := result(rtt(2*Delay), nil)
	negative.Values["packets_sent"] = -1
	suite := Suite{Kind: kind}
	for _, c := range []struct {
		name string
		got  []string
		want string
	}{
		{"good", suite.checkGood([]*probes.Result{result(rtt(2*Delay), nil)}), ""},
		{"no result", suite.checkGood(nil), "no Result"},
		{"empty result", suite.checkGood([]*probes.Result{result(func(*probes.Recorder) {}, nil)}), "without a value"},
		{"faster than light", suite.checkGood([]*probes.Result{result(rtt(Delay), nil)}), "less than the round trip"},
		{"failed", suite.checkGood([]*probes.Result{result(rtt(2*Delay), errors.New("no"))}), "want ok"},
		{"loss", checkPerfect(result(func(r *probes.Recorder) { r.Add(probes.PacketsLost, probes.Up, 2) }, nil)), "packets_lost_up is 2"},
		{"foreign metric", checkValues(kind, foreign), "not among the kind's metrics"},
		{"unknown name", checkValues(kind, unknown), "not in the vocabulary"},
		{"infinite", checkValues(kind, infinite), "+Inf"},
		{"negative", checkValues(kind, negative), "negative"},
		{"panic", checkValues(kind, result(func(*probes.Recorder) { panic("oh") }, nil)), "panic in probe"},
		{"garbage counted", checkNothingCounted(result(rtt(time.Second), nil)), "values of rtt"},
		{"garbage ok", checkNothingCounted(result(func(*probes.Recorder) {}, nil)), "outcome ok"},
	} {
		found := slices.ContainsFunc(c.got, func(p string) bool { return strings.Contains(p, c.want) })
		if c.want == "" && len(c.got) > 0 || c.want != "" && !found {
			t.Errorf("%s: found %q, want %q", c.name, c.got, c.want)
		}
	}
}
