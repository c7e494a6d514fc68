//go:build integration

package store

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/budget"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// TestRealStores writes ten minutes of results to stores that are running and judges what they give back. It needs
// NRPROBE_STORES: the query as on the command line, and the address to write to, such as
// "influx=http://127.0.0.1:8086?db=lab http://127.0.0.1:8086/api/v2/write?bucket=lab".
func TestRealStores(t *testing.T) {
	query, write, ok := bytes.Cut([]byte(os.Getenv("NRPROBE_STORES")), []byte(" "))
	if !ok {
		t.Skip("NRPROBE_STORES names no store to try this on")
	}
	q, err := Parse(string(query))
	if err != nil {
		t.Fatal(err)
	}
	q.To = time.Now().Truncate(time.Second)
	q.From = q.To.Add(-10 * time.Minute)
	r := rand.New(rand.NewPCG(1, 1))
	var body []byte
	var truth probes.Hist
	for i := range 60 {
		rec := probes.NewRecorder()
		for range 100 {
			v := 0.010 + 0.005*r.Float64()
			truth.Add(v)
			rec.Observe(probes.RTT, probes.Both, v)
		}
		rec.Add(probes.PacketsSent, probes.Both, 101)
		rec.Add(probes.PacketsLost, probes.Both, 1)
		result := rec.Snapshot()
		result.ID = probes.ID{Agent: "store-test", Boot: q.To.Format(time.RFC3339), Seq: uint64(i + 1)}
		result.Agent, result.Kind, result.Probe, result.Target, result.Outcome = "store-test", "stamp", "edge", "edge.example", probes.OK
		result.Start, result.Elapsed = q.From.Add(time.Duration(i)*10*time.Second), 10*time.Second
		body = wire.Append(body, result)
	}
	u, err := url.Parse(string(write))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(u.String(), "text/plain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatalf("writing: %s", response.Status)
	}
	plan := plan(t, `budgets: [{metric: rtt, statistic: p50, bound: 13.5ms, of: received, tags: {agent: store-test}}, {metric: loss, statistic: ratio, bound: 3%, tags: {agent: store-test}}]`)
	var in *budget.Input
	for range 50 { // until the store's own queue has been drained
		if in, err = Fetch(t.Context(), http.DefaultClient, q, plan); err == nil && len(in.Pieces) >= 19 {
			break
		}
		<-time.After(200 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	report, err := budget.Check(t.Context(), plan, budget.Options{Input: in})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Verdicts {
		t.Logf("%s: %s, %d results: %s", v.Name, v.Outcome, v.Results, v.Reason)
		if v.Outcome != budget.Pass {
			t.Errorf("%s: %s", v.Name, v.Outcome)
		}
	}
	if got, want := report.Verdicts[0].Estimate, truth.Quantile(0.5); got < want*0.95 || got > want*1.05 {
		t.Errorf("the median is %v, want %v", got, want)
	}
}
