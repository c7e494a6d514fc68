//go:build integration || netns || bench

// The tests of this folder run the built program as its users do, against real servers and over real links. They are
// started by `make test-integration` and `make test-net`, which build what they need.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// program is the nrprobe that the Makefile built.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv("NRPROBE_BINARY")
	if path == "" {
		t.Fatal("NRPROBE_BINARY is not set: start this test with make")
	}
	return path
}

// daemon is a program that runs beside the test and is ended with it.
type daemon struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	mu     sync.Mutex
	lines  []string
	fresh  chan struct{} // closed and replaced when a line arrives
}

// start runs a command until the test ends. Its output goes to the test's log.
func start(t *testing.T, argv ...string) *daemon {
	t.Helper()
	return startCmd(t, exec.Command(argv[0], argv[1:]...))
}

// startCmd is start for a command that needs more than arguments.
func startCmd(t *testing.T, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{cmd: cmd, exited: make(chan struct{}), fresh: make(chan struct{})}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stdout, d.cmd.Stderr = w, w
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the process is killed when the thread that started it ends
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		w.Close()
		if started <- err; err != nil {
			return
		}
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			d.add(scanner.Text())
		}
		_ = d.cmd.Wait()
		close(d.exited)
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", cmd.Path, err)
	}
	t.Cleanup(func() {
		d.stop(t)
		if t.Failed() {
			t.Logf("output of %s:\n%s", strings.Join(cmd.Args, " "), d.output())
		}
	})
	return d
}

func (d *daemon) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
	close(d.fresh)
	d.fresh = make(chan struct{})
}

func (d *daemon) output() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, "\n")
}

// waitFor returns the first submatch of a line that matches, or the whole match.
func (d *daemon) waitFor(t *testing.T, pattern string, limit time.Duration) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(limit)
	for {
		d.mu.Lock()
		lines, fresh := d.lines, d.fresh
		d.mu.Unlock()
		for _, line := range lines {
			if m := re.FindStringSubmatch(line); m != nil {
				return m[len(m)-1]
			}
		}
		select {
		case <-fresh:
		case <-d.exited:
			t.Fatalf("%v ended without a line like %q:\n%s", d.cmd.Args, pattern, d.output())
		case <-deadline:
			t.Fatalf("%v wrote no line like %q in %v:\n%s", d.cmd.Args, pattern, limit, d.output())
		}
	}
}

// stop asks the process to end and insists after a while.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(30 * time.Second):
		t.Errorf("%v did not end within 30 s of SIGTERM", d.cmd.Args)
		d.kill()
	}
}

// kill is kill -9.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.exited
}

// patience is far more than what is waited for takes on a busy machine: what never comes reaches it alone.
const patience = 3 * time.Minute

// run runs a command to its end and returns what it wrote and its exit code.
func run(t *testing.T, argv ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, errs.String())
	}
	return out.String(), errs.String(), 0
}

// result decodes the one object that --json prints.
func result(t *testing.T, stdout string) *probes.Result {
	t.Helper()
	var r probes.Result
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("reading JSON: %v\n%s", err, stdout)
	}
	return &r
}
