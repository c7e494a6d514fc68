//go:build !edge

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/stamp"
)

// bothResults runs the command and sorts its Results by their label.
func bothResults(t *testing.T, args ...string) (byFamily map[string]*probes.Result, code int) {
	t.Helper()
	stdout, stderr, code := run(t, args...)
	byFamily = map[string]*probes.Result{}
	for line := range strings.Lines(stdout) {
		var r probes.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q\n%s", err, line, stderr)
		}
		byFamily[r.Labels["ip_family"]] = &r
	}
	if len(byFamily) != 2 || byFamily["4"] == nil || byFamily["6"] == nil {
		t.Fatalf("results of %v\n%s%s", byFamily, stdout, stderr)
	}
	if byFamily["4"].ID.Boot == byFamily["6"].ID.Boot {
		t.Error("both results have the same identity")
	}
	return byFamily, code
}

// loopbackNames is a name server for which every name is this host, by both families.
func loopbackNames(t *testing.T) (server string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, "name server", func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { _ = pc.Close() })
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return nil
			}
			var m dnsmessage.Message
			if err := m.Unpack(b[:n]); err != nil {
				return err
			}
			m.Response, m.Additionals = true, nil
			body := dnsmessage.ResourceBody(&dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}})
			if m.Questions[0].Type == dnsmessage.TypeAAAA {
				body = &dnsmessage.AAAAResource{AAAA: [16]byte{15: 1}}
			}
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}, Body: body}}
			reply, err := m.Pack()
			if err != nil {
				return err
			}
			if _, err := pc.WriteTo(reply, from); err != nil {
				return err
			}
		}
	})
	return pc.LocalAddr().String()
}

// TestBothFamilies measures over both at once, against a far end that has both, and against one that has not.
func TestBothFamilies(t *testing.T) {
	pc, err := net.ListenPacket("udp", "[::]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	background(t, "reflector", func(ctx context.Context) error {
		defer pc.Close()
		return stamp.FarEnd(slog.New(slog.DiscardHandler)).Packets(ctx, pc)
	})
	port := pc.LocalAddr().(*net.UDPAddr).Port
	got, code := bothResults(t, "probe", "stamp", fmt.Sprintf("far.example:%d", port), "--dns", loopbackNames(t), "--ip-family", "both", "--count", "4", "--interval", "1s", "--json")
	for family, r := range got {
		if r.Outcome != probes.OK || r.Values["packets_received"] == 0 {
			t.Errorf("IPv%s: %s: %s", family, r.Outcome, r.Error)
		}
	}
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}

	got, code = bothResults(t, "probe", "stamp", fmt.Sprintf("127.0.0.1:%d", port), "--ip-family", "both", "--count", "4", "--interval", "1s", "--json")
	if got["4"].Outcome != probes.OK || got["6"].Outcome != probes.Unreachable || code != exitUnreachable {
		t.Errorf("IPv4 %s, IPv6 %s, exit code %d", got["4"].Outcome, got["6"].Outcome, code)
	}
	stdout, _, _ := run(t, "probe", "stamp", fmt.Sprintf("127.0.0.1:%d", port), "--ip-family", "both", "--count", "2", "--interval", "1s")
	if !strings.Contains(stdout, "IPv4: stamp 127.0.0.1") || !strings.Contains(stdout, "IPv6: stamp 127.0.0.1") {
		t.Errorf("the families are not told apart:\n%s", stdout)
	}
}

func TestBothFamiliesAreNotForAll(t *testing.T) {
	for _, c := range []badInput{
		{"load", []string{"probe", "throughput", "host", "--ip-family", "both"}, exitUsage, "--ip-family both: two throughput tests at once would only share the link"},
		{"trace", []string{"probe", "stamp", "host", "--ip-family", "both", "--trace", "x.csv"}, exitUsage, "--ip-family both: --trace is one file"},
	} {
		c.check(t)
	}
}
