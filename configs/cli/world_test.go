//go:build !edge

package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nrprobe/nrprobe/collector"
	sinksall "github.com/nrprobe/nrprobe/collector/sinks/all"
	"github.com/nrprobe/nrprobe/probes/all"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/reflector"
)

// watched is a stream that acts once, when a text is written to it for the first time. It is safe for concurrent use.
type watched struct {
	text string
	act  func()

	mu   sync.Mutex
	seen bytes.Buffer
	done bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(p)
	if !w.done && strings.Contains(w.seen.String(), w.text) {
		w.done = true
		w.act()
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.String()
}

// signalSelf is Ctrl-C, or what an init system does. The command under test catches it: each test sends one at most.
func signalSelf(t *testing.T, s syscall.Signal) {
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Error(err)
	}
}

// startFarEnd starts a reflector with the services on free ports.
func startFarEnd(t *testing.T, services ...farend.Service) *reflector.Reflector {
	t.Helper()
	network, err := host.New(host.Config{})
	if err != nil {
		t.Fatal(err)
	}
	config := reflector.Defaults()
	config.Data = t.TempDir()
	free := reflector.Listen{Addresses: []string{"127.0.0.1:0"}}
	config.STAMP.Listen, config.Streams, config.TLS, config.QUIC = free, free, free, free
	r, err := reflector.New(config, network, slog.New(slog.DiscardHandler), services...)
	if err != nil {
		t.Fatal(err)
	}
	background(t, "reflector", r.Run)
	<-r.Ready()
	return r
}

func farEnds() []farend.Service {
	return all.FarEnds(slog.New(slog.DiscardHandler), lease.NewBook(lease.Defaults(), slog.New(slog.DiscardHandler)))
}

// token may write to the collector of startStore.
const token = "0123456789abcdef0123456789abcdef"

// startStore starts a collector with an embedded store that wants a token, and returns its URL.
func startStore(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := file(t, "collector.yaml", fmt.Sprintf(`listen: "127.0.0.1:0"
tokens_file: %q
queue: {path: %q}
sinks: [{kind: tsdb, path: %q}]
`, file(t, "tokens.yaml", "tokens: [{name: all, token: "+token+"}]\n"), dir+"/queue", dir+"/tsdb"))
	config, err := collector.Load(path, sinksall.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	c, err := collector.New(config, collector.Deps{Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "collector", c.Run)
	<-c.Ready()
	return "http://" + c.Addr().String()
}
