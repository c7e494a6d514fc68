//go:build !edge

package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nrprobe/nrprobe/agent"
	"github.com/nrprobe/nrprobe/probes"
)

// childArgs makes the test binary the program itself, for what can only be seen of another process.
const childArgs = "NRPROBE_TEST_ARGS"

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childArgs); ok {
		os.Exit(Run(process(os.TempDir(), os.Stdout, os.Stderr, strings.Split(args, "\n")...)))
	}
	os.Exit(m.Run())
}

// lonelyAgent measures and can deliver nothing: nobody listens on port 1.
func lonelyAgent(t *testing.T, target, storage string) string {
	return file(t, "agent.yaml", fmt.Sprintf(`agent: {name: a}
probes: [{name: tcp, kind: tcp, target: %q, every: 1s, count: 1}]
outbox: {path: %q, storage: %s}
uplink: {url: "http://127.0.0.1:1", interval: 1s}
metrics: {listen: "127.0.0.1:0"}
`, target, t.TempDir(), storage))
}

// TestDaemonsEndWellWhenAsked: an init system that stops a service, and a person who presses Ctrl-C, get exit code 0.
func TestDaemonsEndWellWhenAsked(t *testing.T) {
	ports := `stamp: {listen: ["127.0.0.1:0"]}
streams: {listen: ["127.0.0.1:0"]}
tls: {listen: ["127.0.0.1:0"]}
quic: {listen: ["127.0.0.1:0"]}
`
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, c := range []struct {
			name  string
			ready string // what it writes when it runs
			args  []string
		}{
			{"reflector", "msg=ready", []string{"reflector", "-c", file(t, "reflector.yaml", ports), "--data", t.TempDir()}},
			{"collector", "collector is ready", []string{"collector", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}},
			{"agent", "msg=measuring", []string{"agent", "-c", file(t, "agent.yaml", `agent: {name: a}
probes: [{name: latency, kind: stamp, target: "127.0.0.1:1", interval: 10ms, window: 5m}]
metrics: {listen: "127.0.0.1:0"}
`)}},
			{"demo", "Ctrl-C ends it.", []string{"demo"}},
		} {
			t.Run(c.name+" "+s.String(), func(t *testing.T) {
				out := &watched{text: c.ready, act: func() { signalSelf(t, s) }}
				if code := Run(process(t.TempDir(), out, out, c.args...)); code != 0 || strings.Contains(out.String(), "nrprobe: ") && c.name != "demo" {
					t.Errorf("exit code %d\n%s", code, out)
				}
			})
		}
	}
}

// countingConn acts when the far end has read so many packets.
type countingConn struct {
	net.PacketConn
	n   *atomic.Int64
	at  int64
	act func()
}

func (c countingConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(p)
	if c.n.Add(1) == c.at {
		c.act()
	}
	return n, from, err
}

// TestInterruptedProbePrintsWhatItSaw presses Ctrl-C at the twentieth packet.
func TestInterruptedProbePrintsWhatItSaw(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			services := farEnds()
			for i, s := range services {
				if s.Packets == nil {
					continue
				}
				services[i].Packets = interruptAt(20, s.Packets, func() { signalSelf(t, syscall.SIGINT) })
			}
			far := startFarEnd(t, services...)
			args := []string{"probe", "stamp", far.Addrs().STAMP[0].String(), "--count", "1000000", "--interval", "10ms"}
			if format == "json" {
				args = append(args, "--json")
			}
			stdout, stderr, code := run(t, args...)
			if code != 130 || stderr != "" {
				t.Errorf("exit code %d, want 130, and stderr %q", code, stderr)
			}
			if format == "text" && !strings.Contains(stdout, "canceled") {
				t.Errorf("the text does not say that it was canceled:\n%s", stdout)
			}
			if format == "json" {
				checkPartial(t, stdout)
			}
		})
	}
}

func interruptAt(at int64, serve func(context.Context, net.PacketConn) error, act func()) func(context.Context, net.PacketConn) error {
	return func(ctx context.Context, pc net.PacketConn) error {
		return serve(ctx, countingConn{PacketConn: pc, n: &atomic.Int64{}, at: at, act: act})
	}
}

func checkPartial(t *testing.T, text string) {
	t.Helper()
	var r probes.Result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if r.Outcome != probes.Canceled || r.Quality&probes.Partial == 0 || r.Values["packets_sent"] < 20 || r.Values["packets_received"] == 0 {
		t.Errorf("outcome %s, flags %v, sent %v, received %v", r.Outcome, r.Quality.Names(), r.Values["packets_sent"], r.Values["packets_received"])
	}
}

// blocking is a standard input that nothing comes from: it acts when it is read.
type blocking struct {
	act  func()
	over chan struct{}
}

func (b blocking) Read([]byte) (int, error) {
	b.act()
	<-b.over
	return 0, io.EOF
}

// TestInterruptedCheckDoesNotWaitForItsInput presses Ctrl-C while a check reads what nobody pipes in.
func TestInterruptedCheckDoesNotWaitForItsInput(t *testing.T) {
	var out, errs bytes.Buffer
	p := process(t.TempDir(), &out, &errs, "check", "--profile", "gaming", "--input", "-")
	over := make(chan struct{})
	defer close(over)
	p.Stdin = blocking{func() { signalSelf(t, syscall.SIGINT) }, over}
	if code := Run(p); code != exitInterrupted || out.Len()+errs.Len() > 0 {
		t.Errorf("exit code %d, want 130 and nothing said\n%s%s", code, &out, &errs)
	}
}

// TestInterruptedOnceSaysSo: whatever the probes before came to, Ctrl-C is exit code 130; what is left behind is told.
func TestInterruptedOnceSaysSo(t *testing.T) {
	left := &agent.LeftBehind{Kept: true, Err: errors.New("2 results are not delivered yet")}
	unreachable := &exitError{code: exitUnreachable}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx        context.Context
		worst, err error
		code       int
		said       string
	}{
		"all is well":                       {t.Context(), nil, nil, exitOK, ""},
		"a probe failed":                    {t.Context(), unreachable, nil, exitUnreachable, ""},
		"not delivered":                     {t.Context(), nil, left, exitFailed, "nrprobe: 2 results are not delivered yet (they stay in the outbox)\n"},
		"a probe failed, and not delivered": {t.Context(), unreachable, left, exitUnreachable, "nrprobe: 2 results are not delivered yet (they stay in the outbox)\n"},
		"Ctrl-C":                            {canceled, nil, context.Canceled, exitInterrupted, ""},
		"Ctrl-C behind a failed probe":      {canceled, unreachable, context.Canceled, exitInterrupted, ""},
		"Ctrl-C, and not delivered":         {canceled, nil, errors.Join(left, context.Canceled), exitInterrupted, "nrprobe: 2 results are not delivered yet (they stay in the outbox)\n"},
	} {
		var errs bytes.Buffer
		p := &Process{Stderr: &errs}
		if code := p.exitCode(p.endOnce(c.ctx, c.worst, c.err)); code != c.code || errs.String() != c.said {
			t.Errorf("%s: exit code %d, want %d; said %q, want %q", name, code, c.code, &errs, c.said)
		}
	}
}

// TestFileThatFailsADaemonAtWorkIsNoWrongUse: a file that cannot be used is a wrong configuration before a daemon works, and a
// failure, such as a full disk, from then on; an address always is what it was told.
func TestFileThatFailsADaemonAtWorkIsNoWrongUse(t *testing.T) {
	full := fmt.Errorf("closing: %w", &fs.PathError{Op: "write", Path: "seen", Err: syscall.ENOSPC})
	gone := &fs.PathError{Op: "open", Path: "queue", Err: syscall.ENOENT}
	address := &net.OpError{Op: "listen", Err: &net.AddrError{Err: "missing port in address", Addr: "foo"}}
	work := func(ctx context.Context, err error) error {
		return serve(ctx, slog.New(slog.DiscardHandler), func(context.Context) error { return err }, func() {})
	}
	asked, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		how  func(context.Context, error) error
		ctx  context.Context
		err  error
		code int
	}{
		"the folder is missing at the start": {refused, t.Context(), gone, exitUsage},
		"no such address at the start":       {refused, t.Context(), address, exitUsage},
		"the disk is full when asked to end": {refused, asked, full, exitFailed},
		"the folder vanishes at work":        {work, t.Context(), gone, exitFailed},
		"the disk is full at work":           {work, t.Context(), full, exitFailed},
		"the disk is full at the end":        {work, asked, full, exitFailed},
		"no such address to listen on":       {work, t.Context(), address, exitUsage},
		"all is well":                        {work, asked, context.Canceled, exitOK},
	} {
		p := &Process{Stderr: io.Discard}
		if code := p.exitCode(c.how(c.ctx, c.err)); code != c.code {
			t.Errorf("%s: exit code %d, want %d", name, code, c.code)
		}
	}
}

// TestSecondSignalEndsAtOnce asks an agent to end that would still try to deliver for its whole grace time, and insists.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	far := startFarEnd(t, farEnds()...)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childArgs+"="+strings.Join([]string{"agent", "-c", lonelyAgent(t, far.Addrs().Streams[0].String(), "ram")}, "\n"))
	var errs bytes.Buffer
	r, w := io.Pipe()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		w.Close()
	}()
	for scanner := bufio.NewScanner(r); scanner.Scan(); {
		fmt.Fprintln(&errs, scanner.Text())
		if strings.Contains(scanner.Text(), "results cannot be delivered") || strings.Contains(scanner.Text(), "a second signal ends at once") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want by the second signal\n%s", cmd.ProcessState, errs.String())
	}
}
