package iperf3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// realIperf3 finds the real iperf3, without which there is nothing to test here.
func realIperf3(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("iperf3")
	if err != nil {
		t.Skip("iperf3 is not installed (Debian package iperf3): nothing is compared with the real one")
	}
	return path
}

// serveLoopback runs a Server until the test ends.
func serveLoopback(t *testing.T) (port string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Listen(ctx, probetest.Loopback{}, "127.0.0.1:0", Limits{Sessions: 100, Duration: time.Minute}, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return strconv.Itoa(s.Addr().(*net.TCPAddr).Port)
}

// report is what there is to compare in the output of iperf3 -J.
type report struct {
	Error string `json:"error"`
	End   struct {
		SumSent     sum `json:"sum_sent"`
		SumReceived sum `json:"sum_received"`
		Sum         sum `json:"sum"`
	} `json:"end"`
	ServerOutput string `json:"server_output_text"`
}

type sum struct {
	Bytes       float64 `json:"bytes"`
	Packets     float64 `json:"packets"`
	LostPackets float64 `json:"lost_packets"`
	Seconds     float64 `json:"seconds"`
}

// client runs the real iperf3 against a port.
func client(ctx context.Context, path, port string, args ...string) (report, error) {
	args = append([]string{"-c", "127.0.0.1", "-p", port, "-J"}, args...)
	text, err := exec.CommandContext(ctx, path, args...).Output()
	var r report
	if jsonErr := json.Unmarshal(text, &r); jsonErr != nil || r.Error != "" || err != nil {
		return r, fmt.Errorf("iperf3 %s: %s: %w", strings.Join(args, " "), r.Error, errors.Join(err, jsonErr))
	}
	return r, nil
}

// TestRealClients runs the real iperf3 in each of its modes against our server. Each ends by a volume, or lasts longer than a
// busy machine holds a process up, and datagrams are so few that the buffer of a receiver that is held up has room for them.
func TestRealClients(t *testing.T) {
	path := realIperf3(t)
	port := serveLoopback(t)
	for _, c := range []struct {
		mode string
		udp  bool
	}{
		{"-n 20M", false},
		{"-n 20M -R", false},
		{"-t 2 --bidir", false},
		{"-n 20M -P 4", false},
		{"-n 20M -P 4 -R", false},
		{"-t 4 -P 3 --bidir -O 1", false},
		{"-t 4 -O 1", false},
		{"-t 4 -O 1 -R", false},
		{"-n 20M -l 1K -N", false},
		{"-n 20M -C reno", false},
		{"-n 20M -C reno -R", false},
		{"-n 20M --get-server-output", false},
		{"-t 2 -u -b 200K", true},
		{"-t 2 -u -b 200K -R", true},
		{"-t 2 -u -b 100K --bidir", true},
		{"-t 2 -u -b 50K -P 4", true},
		{"-t 2 -u -b 50K -P 4 -R", true},
		{"-t 2 -u -b 100K -O 1 -l 1200", true},
		{"-t 2 -u -b 100K --udp-counters-64bit", true},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			r, err := client(t.Context(), path, port, strings.Fields(c.mode)...)
			if err != nil {
				t.Fatal(err)
			}
			if !c.udp {
				if r.End.SumSent.Bytes == 0 || r.End.SumReceived.Bytes == 0 || r.End.SumReceived.Bytes > r.End.SumSent.Bytes*1.3 {
					t.Errorf("sent %v bytes, received %v", r.End.SumSent.Bytes, r.End.SumReceived.Bytes)
				}
			} else if r.End.Sum.Packets == 0 || r.End.Sum.LostPackets > r.End.Sum.Packets/2 {
				t.Errorf("%v datagrams, %v lost", r.End.Sum.Packets, r.End.Sum.LostPackets)
			}
			if strings.Contains(c.mode, "get-server-output") && r.ServerOutput == "" {
				t.Error("no output of the server")
			}
		})
	}
	for what, args := range map[string][]string{"-n": {"-n", "10M"}, "-k": {"-k", "100"}} {
		// iperf3 takes one condition for the end: no -t beside these.
		text, err := exec.CommandContext(t.Context(), path, append([]string{"-c", "127.0.0.1", "-p", port, "-J"}, args...)...).Output()
		if err != nil || !bytes.Contains(text, []byte("sum_received")) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRealClientsAtOnce is what iperf3's own server cannot do.
func TestRealClientsAtOnce(t *testing.T) {
	path := realIperf3(t)
	port := serveLoopback(t)
	var clients sync.WaitGroup
	for _, mode := range []string{"-t 1 -P 2", "-t 1 -R", "-t 1 -u -b 5M -P 3", "-t 1 -u -b 5M -R", "-t 1 --bidir", "-t 1 -u -b 5M --bidir"} {
		clients.Go(func() {
			if _, err := client(t.Context(), path, port, strings.Fields(mode)...); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}

// realServer runs the real iperf3 as a server on a free port until the test ends.
func realServer(t *testing.T) uint16 {
	t.Helper()
	path := realIperf3(t)
	l, err := net.Listen("tcp", quietPort(t))
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-s", "-B", "127.0.0.1", "-p", strconv.Itoa(port), "--forceflush")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		told := false
		for {
			n, err := out.Read(b)
			if err != nil {
				return
			}
			if !told && bytes.Contains(b[:n], []byte("Server listening")) {
				told = true
				close(listening)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = cmd.Wait() // it was killed
	})
	select {
	case <-listening:
	case <-ended:
		t.Fatal("the iperf3 server ended before it listened")
	}
	return uint16(port)
}

// TestRealServer measures against the real iperf3 in all modes.
func TestRealServer(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		for _, direction := range []string{"down", "up", "both"} {
			for _, streams := range []int{1, 4} {
				t.Run(fmt.Sprintf("%s %s %d", transport, direction, streams), func(t *testing.T) {
					t.Parallel()
					port := realServer(t) // a fresh one each time: between two tests it does not listen for a moment
					c := defaults()
					c.Transport, c.Direction, c.Streams, c.Duration, c.Rate = transport, direction, streams, 2*time.Second, 25e3
					if streams == 4 {
						c.Omit = time.Second
					}
					p, err := build(c, probetest.Env(t, probetest.Loopback{}), probes.Target{Host: "localhost", Port: port})
					if err != nil {
						t.Fatal(err)
					}
					rec := probes.NewRecorder()
					if err := p.Measure(t.Context(), rec); err != nil {
						t.Fatal(err)
					}
					r := rec.Snapshot()
					for _, way := range c.ways() {
						goodput, transferred := r.Values["goodput_"+way.String()+"_bytes_per_second"], r.Values["transferred_"+way.String()+"_bytes"]
						if goodput <= 0 || transferred <= 0 {
							t.Errorf("%v: %v bytes at %v bytes/s", way, transferred, goodput)
						}
					}
					if transport == "udp" {
						if sent, lost := r.Values["packets_sent"], r.Values["packets_lost"]; sent == 0 || lost > sent/2 {
							t.Errorf("%v datagrams sent, %v lost", sent, lost)
						}
					}
				})
			}
		}
	}
}

// TestRealServerIsBusy: iperf3's own server turns the second client away.
func TestRealServerIsBusy(t *testing.T) {
	port := realServer(t)
	measure := func(ctx context.Context) error {
		p, err := build(defaults(), probetest.Env(t, probetest.Loopback{}), probes.Target{Host: "localhost", Port: port})
		if err != nil {
			return err
		}
		return p.Measure(ctx, probes.NewRecorder())
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	rec := probes.NewRecorder()
	p, err := build(defaults(), probetest.Env(t, probetest.Loopback{}), probes.Target{Host: "localhost", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	go func() { first <- p.Measure(ctx, rec) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for rec.Snapshot().Values["goodput_down_bytes_per_second"] == 0 { // until data flows
		<-tick.C
	}
	if err := measure(t.Context()); probes.Classify(err) != probes.Busy {
		t.Errorf("%v, want the outcome busy", err)
	}
	cancel()
	if err := <-first; probes.Classify(err) != probes.Canceled {
		t.Errorf("the first: %v, want canceled", err)
	}
}
