//go:build netns

package e2e

import (
	"encoding/json"
	"testing"
)

// TestNetnsProbes measures with every kind across a real link, as a user would, and holds the JSON against its contract.
func TestNetnsProbes(t *testing.T) {
	l := newLink(t)
	data := t.TempDir()
	reflector := start(t, in(l.far, program(t), "reflector", "--data", data)...)
	reflector.waitFor(t, `ready`, patience)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, c := range []struct {
		name string
		args []string
		want []string // value names
	}{
		{"stamp", []string{"stamp", "10.77.0.2", "--count", "400", "--interval", "10ms"}, []string{
			"rtt_min_seconds", "rtt_mean_seconds", "rtt_p50_seconds", "rtt_p90_seconds", "rtt_p95_seconds", "rtt_p99_seconds", "rtt_p999_seconds", "rtt_max_seconds",
			"pdv_up_p95_seconds", "pdv_down_p95_seconds", "ipdv_up_p95_seconds", "packets_sent", "packets_received", "packets_lost", "packets_lost_up", "packets_lost_down",
			"packets_duplicated", "packets_reordered", "loss_ratio", "interruption_max_seconds",
		}},
		{"stamp over IPv6 on an interface", []string{"stamp", "fd77::2", "--count", "4", "--interval", "1s", "--interface", "wwan0"}, []string{"rtt_p50_seconds"}},
		{"stamp with a pattern", []string{"stamp", "10.77.0.2", "--pattern", "remote-driving", "--duration", "3s"}, []string{
			"frames_sent", "frames_lost", "frames_late", "frames_in_time_ratio", "frames_sent_up", "frames_in_time_up_ratio", "frames_in_time_down_ratio",
		}},
		{"tcp", []string{"tcp", "10.77.0.2", "--count", "5"}, []string{"connect_seconds", "rtt_p50_seconds"}},
		{"quic", []string{"quic", "10.77.0.2", "--count", "5"}, []string{"handshake_seconds", "resumed_seconds", "rtt_p50_seconds", "transport_rtt_seconds"}},
		{"icmp", []string{"icmp", "10.77.0.2", "--count", "5", "--interval", "20ms"}, []string{"rtt_p50_seconds", "packets_lost"}},
		{"http over HTTP/3", []string{"http", "10.77.0.2:8443", "--count", "2", "--version", "3", "--insecure"}, []string{"handshake_seconds", "ttfb_seconds"}},
		{"throughput tcp down", []string{"throughput", "10.77.0.2", "--direction", "down", "--duration", "2s"}, []string{"goodput_down_bytes_per_second", "transferred_down_bytes"}},
		{"throughput tcp up", []string{"throughput", "10.77.0.2", "--direction", "up", "--duration", "2s"}, []string{"goodput_up_bytes_per_second", "transferred_up_bytes", "retransmitted_segments"}},
		{"throughput quic down", []string{"throughput", "10.77.0.2", "--transport", "quic", "--direction", "down", "--duration", "2s"}, []string{"goodput_down_bytes_per_second"}},
		{"throughput quic up", []string{"throughput", "10.77.0.2", "--transport", "quic", "--direction", "up", "--duration", "2s"}, []string{"goodput_up_bytes_per_second"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			argv := append([]string{program(t), "probe"}, c.args...)
			stdout, stderr, code := run(t, in(l.near, append(argv, "--json")...)...)
			if code != 0 {
				t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
			}
			r := result(t, stdout)
			if r.Outcome != "ok" || r.Target != c.args[1] || r.Kind != c.args[0] {
				t.Errorf("outcome %s, target %s, kind %s", r.Outcome, r.Target, r.Kind)
			}
			for _, name := range c.want {
				if _, ok := r.Values[name]; !ok {
					t.Errorf("values lack %s: %v", name, r.Values)
				}
			}
			var top map[string]json.RawMessage
			if err := json.Unmarshal([]byte(stdout), &top); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"id", "agent", "kind", "probe", "target", "start", "elapsed_seconds", "outcome", "values", "quality"} {
				if _, ok := top[key]; !ok {
					t.Errorf("the object lacks %q", key)
				}
			}
		})
	}
}
