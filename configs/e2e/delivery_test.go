//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// site is a reflector on free ports, and the YAML of probes that measure against it.
type site struct{ stamp, tls int }

func startReflector(t *testing.T) site {
	t.Helper()
	s := site{stamp: freePort(t), tls: freePort(t)}
	config := write(t, t.TempDir(), "reflector.yaml", fmt.Sprintf(`
stamp: {listen: ["127.0.0.1:%d"]}
streams: {listen: ["127.0.0.1:%d"]}
tls: {listen: ["127.0.0.1:%d"]}
quic: {listen: ["127.0.0.1:%d"]}
data: %q
`, s.stamp, s.stamp, s.tls, s.tls, t.TempDir()))
	start(t, program(t), "reflector", "-c", config).waitFor(t, `ready`, patience)
	return s
}

// startCollector starts a collector that forwards to InfluxDB and keeps an embedded store.
func startCollector(t *testing.T, dir string, port int, db influx) *daemon {
	t.Helper()
	config := write(t, dir, "collector.yaml", fmt.Sprintf(`
listen: "127.0.0.1:%d"
queue: {path: %q}
sinks:
  - {kind: influx, url: %q, bucket: nr/autogen}
  - {kind: tsdb, path: %q}
`, port, filepath.Join(dir, "queue"), db.url, filepath.Join(dir, "tsdb")))
	d := start(t, program(t), "collector", "-c", config)
	until(t, patience, func() string {
		if _, err := tryGet(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/ready", port)); err != nil {
			return err.Error() + "\n" + d.output()
		}
		return ""
	})
	return d
}

func (s site) agentYAML(name, outbox, url, bucket string, metricsPort int) string {
	return fmt.Sprintf(`
agent: {name: %s, labels: {site: lab}}
probes:
  - {name: latency, kind: stamp, target: "127.0.0.1:%d", interval: 20ms, window: 1s}
  - {name: connect, kind: tcp, target: "127.0.0.1:%d", every: 1s, count: 3, interval: 50ms}
  - {name: quic, kind: quic, target: "127.0.0.1:%d", every: 2s, count: 3, interval: 50ms, insecure: true}
outbox: {path: %q, storage: flash}
uplink: {url: %q, bucket: %q, interval: 1s, retry_max: 2s}
metrics: {listen: "127.0.0.1:%d"}
`, name, s.stamp, s.stamp, s.tls, outbox, url, bucket, metricsPort)
}

// TestWhatWasMeasuredIsWhatInfluxHolds compares values and time stamps, straight and through a collector.
func TestWhatWasMeasuredIsWhatInfluxHolds(t *testing.T) {
	db, s := startInflux(t), startReflector(t)
	dir := t.TempDir()
	port := freePort(t)
	startCollector(t, dir, port, db)
	for name, url := range map[string]string{"straight": db.url, "through": fmt.Sprintf("http://127.0.0.1:%d", port)} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", t.TempDir())
			config := write(t, t.TempDir(), "agent.yaml", s.agentYAML(name, t.TempDir(), url, "nr/autogen", freePort(t)))
			stdout, stderr, code := run(t, program(t), "agent", "-c", config, "--once", "--json")
			if code != 0 {
				t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
			}
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			if len(lines) != 3 {
				t.Fatalf("got %d results, want one of each probe:\n%s", len(lines), stdout)
			}
			for _, line := range lines {
				until(t, patience, func() string { return db.holds(t, result(t, line)) })
			}
		})
	}
}

// holds says what InfluxDB lacks of a Result, or "".
func (db influx) holds(t *testing.T, r *probes.Result) string {
	t.Helper()
	rows := db.query(t, fmt.Sprintf(`SELECT * FROM "nrprobe" WHERE "agent"='%s' AND "probe"='%s' AND time = %d`, r.Agent, r.Probe, r.Start.UnixNano()))
	if len(rows) != 1 || len(rows[0].Values) != 1 {
		return fmt.Sprintf("one point of %s at %d: %v", r.Probe, r.Start.UnixNano(), rows)
	}
	fields := map[string]any{}
	for i, column := range rows[0].Columns {
		fields[column] = rows[0].Values[0][i]
	}
	for name, want := range r.Values {
		number, ok := fields[name].(json.Number)
		if !ok {
			return fmt.Sprintf("%s: field %s is %v", r.Probe, name, fields[name])
		}
		if got, err := number.Float64(); err != nil || math.Abs(got-want) > 1e-12*math.Abs(want) {
			t.Fatalf("%s: field %s is %v, measured was %v", r.Probe, name, number, want)
		}
	}
	for name, want := range r.Hists {
		text, _ := fields[name+"_hist"].(string)
		if got, err := probes.ParseHist(text); err != nil || !got.Equal(want) {
			t.Fatalf("%s: histogram %s is %q, %v", r.Probe, name, text, err)
		}
	}
	if fields["site"] != "lab" || fields["outcome"] != "ok" || fields["boot"] != r.ID.Boot {
		t.Fatalf("%s: site %v, outcome %v, boot %v", r.Probe, fields["site"], fields["outcome"], fields["boot"])
	}
	return ""
}

// TestNoAcknowledgedResultIsLost kills the collector for a minute, and the agent in the middle of that minute.
func TestNoAcknowledgedResultIsLost(t *testing.T) {
	db, s := startInflux(t), startReflector(t)
	collectorDir, port := t.TempDir(), freePort(t)
	collector := startCollector(t, collectorDir, port, db)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	metricsPort := freePort(t)
	config := write(t, t.TempDir(), "agent.yaml", s.agentYAML("van", t.TempDir(), fmt.Sprintf("http://127.0.0.1:%d", port), "nr/autogen", metricsPort))
	agent := start(t, program(t), "agent", "-c", config)
	until(t, patience, func() string {
		if seqs := db.sequences(t); len(seqs) == 0 {
			return "a first result in InfluxDB"
		}
		return ""
	})

	collector.kill()
	down := time.Now()
	pause(t, 30*time.Second)
	until(t, patience, func() string {
		if n := kept(t, metricsPort); n < 30 {
			return fmt.Sprintf("30 results in the outbox, of which there are %d", n)
		}
		return ""
	})
	acknowledged := kept(t, metricsPort)
	agent.kill()
	firstBoot := db.onlyBoot(t)
	agent = start(t, program(t), "agent", "-c", config)
	pause(t, time.Until(down.Add(time.Minute)))
	startCollector(t, collectorDir, port, db)
	until(t, patience, func() string {
		if seqs := db.sequences(t); len(seqs) < 2 {
			return "results of the second start in InfluxDB"
		}
		return ""
	})
	second := kept(t, metricsPort)
	agent.stop(t)

	until(t, patience, func() string {
		seqs := db.sequences(t)
		for boot, got := range seqs {
			want := second
			if boot == firstBoot {
				want = acknowledged
			}
			for seq := uint64(1); seq <= max(want, highest(got)); seq++ {
				if !got[seq] {
					return fmt.Sprintf("result %d of boot %s (acknowledged: %d, highest in InfluxDB: %d)", seq, boot, want, highest(got))
				}
			}
		}
		return ""
	})
	t.Logf("acknowledged before kill -9: %d, after the restart: at least %d; all in InfluxDB", acknowledged, second)
}

// pause lets real time pass: an outage that lasts a minute takes one.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// sequences returns the sequence numbers in InfluxDB, by boot.
func (db influx) sequences(t *testing.T) map[string]map[uint64]bool {
	t.Helper()
	found := map[string]map[uint64]bool{}
	for _, series := range db.query(t, `SELECT "boot", "seq" FROM "nrprobe"`) {
		for _, v := range series.Values {
			boot, _ := v[1].(string)
			seq, err := strconv.ParseUint(fmt.Sprint(v[2]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if found[boot] == nil {
				found[boot] = map[uint64]bool{}
			}
			found[boot][seq] = true
		}
	}
	return found
}

func (db influx) onlyBoot(t *testing.T) string {
	t.Helper()
	seqs := db.sequences(t)
	if len(seqs) != 1 {
		t.Fatalf("InfluxDB holds %d boots, want one so far", len(seqs))
	}
	for boot := range seqs {
		return boot
	}
	return ""
}

func highest(seqs map[uint64]bool) uint64 {
	top := uint64(0)
	for seq := range seqs {
		top = max(top, seq)
	}
	return top
}

// kept reads from the agent's own /metrics how many results its outbox has taken.
func kept(t *testing.T, port int) uint64 {
	t.Helper()
	text := get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	m := regexp.MustCompile(`(?m)^nrprobe_agent_outbox_written_records_total (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("/metrics does not say how many results were kept:\n%s", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(n)
}
