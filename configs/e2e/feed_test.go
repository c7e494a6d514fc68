//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// feed makes Results in which every word of the vocabulary occurs, from samples that the test knows.
type feed struct {
	rng  *rand.Rand
	seq  uint64
	rtts []float64 // every round-trip time so far, in seconds
}

func newFeed() *feed { return &feed{rng: rand.New(rand.NewPCG(1, 2))} }

// next is a Result of the window that ends now.
func (f *feed) next(agent string) *probes.Result {
	rec := probes.NewRecorder()
	for _, m := range probes.Vocabulary() {
		for _, d := range probes.Directions() {
			if d != probes.Both && !m.Directed {
				continue
			}
			switch m.Type {
			case probes.Gauge:
				rec.Set(m, d, 1+f.rng.Float64())
			case probes.Counter:
				rec.Add(m, d, []float64{20, 1, 2}[d])
			case probes.Distribution:
				f.observe(rec, m, d)
			}
		}
	}
	rec.Flag(probes.ScheduleLate)
	rec.Event(probes.Event{Time: time.Now().Round(0), Type: probes.InterruptionEvent, Duration: 137 * time.Millisecond})
	r := rec.Snapshot()
	f.seq++
	r.ID = probes.ID{Agent: agent, Boot: "feed", Seq: f.seq}
	r.Agent, r.Kind, r.Probe, r.Target, r.Outcome = agent, "stamp", "known", "reflector:8620", probes.OK
	r.Start, r.Elapsed = time.Now().Round(0).Add(-time.Second), time.Second
	rsrp, rsrq, sinr, pci := -91.5, -11.0, 14.0, 94
	after := &probes.RadioSample{Time: r.End(), RAT: "NR-SA", PCI: &pci, Band: "n78", RSRP: &rsrp, RSRQ: &rsrq, SINR: &sinr}
	r.Radio = &probes.Radio{Before: after, After: after}
	return r
}

func (f *feed) observe(rec *probes.Recorder, m *probes.Metric, d probes.Direction) {
	for range 50 {
		v := 0.012 + 0.006*f.rng.ExpFloat64()
		rec.Observe(m, d, v)
		if m == probes.RTT {
			f.rtts = append(f.rtts, v)
		}
	}
}

// push writes line protocol as any client of the InfluxDB v2 write API does.
func push(t *testing.T, server, bucket string, results ...*probes.Result) {
	t.Helper()
	var body []byte
	for _, r := range results {
		body = wire.Append(body, r)
	}
	resp, err := http.Post(fmt.Sprintf("%s/api/v2/write?org=&bucket=%s&precision=ns", server, bucket), "text/plain; charset=utf-8", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("write: %s: %s", resp.Status, text)
	}
}
