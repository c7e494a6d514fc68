//go:build !edge

package cli

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/all"
	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// startLeases starts a reflector whose leases are told of in the log, and returns the address of its plain TCP port.
func startLeases(t *testing.T, log *slog.Logger) (book *lease.Book, address string) {
	t.Helper()
	book = lease.NewBook(lease.Defaults(), log)
	r := startFarEnd(t, all.FarEnds(slog.New(slog.DiscardHandler), book)...)
	return book, r.Addrs().Streams[0].String()
}

// leased is the result of a load test, which must have had a lease.
func leased(t *testing.T, stdout []byte) *probes.Result {
	t.Helper()
	var r probes.Result
	if err := json.Unmarshal(stdout, &r); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if r.Outcome != probes.OK || r.Info["lease"] != "granted" {
		t.Errorf("%s (%s), lease %q", r.Outcome, r.Error, r.Info["lease"])
	}
	return &r
}

// TestLoadTestsRunOneAfterTheOther: several that are started at once, against a real reflector.
func TestLoadTestsRunOneAfterTheOther(t *testing.T) {
	told := watched{done: true} // with nothing to wait for
	_, address := startLeases(t, slog.New(slog.NewTextHandler(&told, nil)))
	var tests sync.WaitGroup
	for _, kind := range []string{"throughput", "throughput", "capacity"} {
		tests.Go(func() {
			var out, errs bytes.Buffer
			args := []string{"probe", kind, address, "--json", "--volume", "2MB"}
			if kind == "capacity" {
				args = append(args[:4], "--max-bytes", "1MB", "--initial-rate", "50Mbit/s")
			}
			if code := Run(process(t.TempDir(), &out, &errs, args...)); code != 0 {
				t.Errorf("exit code %d: %s", code, &errs)
				return
			}
			leased(t, out.Bytes())
		})
	}
	tests.Wait()
	var course []string
	for _, m := range regexp.MustCompile(`msg="lease (\w+)"`).FindAllStringSubmatch(told.String(), -1) {
		course = append(course, m[1])
	}
	course = course[:min(len(course), 5)] // the last lease may not have ended yet
	if want := []string{"granted", "ended", "granted", "ended", "granted"}; !slices.Equal(course, want) {
		t.Errorf("leases were %v, want %v\n%s", course, want, told.String())
	}
}

// TestWaitingIsSaid, with the position, and ends when the other test does. --site says who is in the way of whom.
func TestWaitingIsSaid(t *testing.T) {
	_, address := startLeases(t, slog.New(slog.DiscardHandler))
	network, err := host.New(host.Config{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := (&lease.Request{Net: network, Address: address, Ask: lease.Ask{Site: "depot"}}).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	test := func(site string, stderr *watched) *probes.Result {
		var out bytes.Buffer
		if code := Run(process(t.TempDir(), &out, stderr, "probe", "throughput", address, "--volume", "2MB", "--site", site, "--json")); code != 0 {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		return leased(t, out.Bytes())
	}
	if r := test("elsewhere", &watched{done: true}); r.Info["lease_waited"] != "" {
		t.Errorf("a test of another site waited %s", r.Info["lease_waited"])
	}
	stderr := &watched{text: "position=1", act: other.Release}
	if r := test("depot", stderr); r.Info["lease_waited"] == "" || !strings.Contains(stderr.String(), "waiting for a lease") {
		t.Errorf("a test of the same site waited %q, and said %q", r.Info["lease_waited"], stderr)
	}
}

// TestLeaseBesideOtherPorts: load over QUIC and HTTP has its lease from the plain TCP port of the same host, where it is told which.
func TestLeaseBesideOtherPorts(t *testing.T) {
	book := lease.NewBook(lease.Defaults(), slog.New(slog.DiscardHandler))
	r := startFarEnd(t, all.FarEnds(slog.New(slog.DiscardHandler), book)...)
	_, port, err := net.SplitHostPort(r.Addrs().Streams[0].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"throughput", r.Addrs().QUIC[0].String(), "--transport", "quic", "--volume", "2MB"},
		{"responsiveness", r.Addrs().TLS[0].String(), "--duration", "60s", "--interval", "250ms", "--tolerance", "0.5", "--connections", "1"},
	} {
		args = append([]string{"probe"}, append(args, "--lease-port", port, "--insecure", "--json")...)
		stdout, stderr, code := run(t, args...)
		if code != 0 {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
			continue
		}
		leased(t, []byte(stdout))
	}
	if got := book.Stats().Granted; got != 2 {
		t.Errorf("%d leases were granted, want 2", got)
	}
}
