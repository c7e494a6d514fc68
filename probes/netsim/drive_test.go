package netsim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDriveDependsOnItsSeedOnly(t *testing.T) {
	a, b, other := Drive(3, DriveConfig{}), Drive(3, DriveConfig{}), Drive(4, DriveConfig{})
	differs := false
	for at := time.Duration(0); at < 2*a.Length; at += 777 * time.Millisecond {
		if a.Up.At(at) != b.Up.At(at) || a.Down.At(at) != b.Down.At(at) || !cmp.Equal(a.RadioAt(at), b.RadioAt(at)) {
			t.Fatalf("two drives of one seed differ at %v", at)
		}
		differs = differs || a.Up.At(at) != other.Up.At(at)
	}
	if !differs {
		t.Error("another seed drives the same")
	}
}

func TestDriveHoldsWhatItPromises(t *testing.T) {
	for seed := range uint64(6) {
		c := Drive(seed, DriveConfig{})
		if len(c.Handovers) < 8 {
			t.Errorf("seed %d: %d handovers", seed, len(c.Handovers))
		}
		for _, h := range c.Handovers {
			if gap := h.End - h.Start; gap < 30*time.Millisecond || gap > 60*time.Millisecond {
				t.Errorf("seed %d: interruption of %v", seed, gap)
			}
			if s := c.Down.At(h.Start); s.Stall != h.End-h.Start {
				t.Errorf("seed %d: at a handover %+v", seed, s)
			}
			before, after := c.RadioAt(h.Start-1), c.RadioAt(h.Start)
			if h.Start > time.Second && before.SameCell(after) {
				t.Errorf("seed %d: the modem stays in its cell at the handover at %v", seed, h.Start)
			}
		}
		rats := map[string]bool{}
		for at := time.Duration(0); at < c.Length; at += 250 * time.Millisecond {
			r, s := c.RadioAt(at), c.Down.At(at)
			rats[r.RAT] = true
			if *r.RSRP < -140 || *r.RSRP > -44 || *r.SINR < -12 || *r.SINR > 30 || *r.RSRQ < -20 || *r.RSRQ > -10 || *r.PCI < 0 || *r.PCI > 1007 {
				t.Errorf("seed %d at %v: radio %+v", seed, at, r)
			}
			if out := c.Outages[0].contains(at); s.Down != out || out && *r.RSRP > -120 {
				t.Errorf("seed %d at %v: outage %v, down %v, RSRP %v", seed, at, out, s.Down, *r.RSRP)
			}
			if s.Rate < 1000 || s.Rate > 125e6 || s.Delay <= 0 || s.Delay > time.Second || s.Loss > 0.05 {
				t.Errorf("seed %d at %v: %+v", seed, at, s)
			}
		}
		for _, rat := range []string{"NR-SA", "NR-NSA", "LTE"} {
			if !rats[rat] {
				t.Errorf("seed %d: no %s", seed, rat)
			}
		}
	}
}

// TestDriveRoundTrips holds what is measured across the drive, by access technology, against the figures published.
func TestDriveRoundTrips(t *testing.T) {
	byLayer := map[string][]time.Duration{}
	synctest.Test(t, func(t *testing.T) {
		c := Drive(1, DriveConfig{Length: 20 * time.Minute})
		_, edge, far := pair(t, c.Up, c.Down)
		echo(t, far)
		conn, err := edge.Dial(t.Context(), "udp", "192.0.2.1:7")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		for time.Since(start) < c.Length {
			r := c.RadioAt(time.Since(start))
			sent := time.Now()
			if _, err := conn.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(sent.Add(time.Second))
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				key := r.RAT + " " + r.Band
				byLayer[key] = append(byLayer[key], time.Since(sent))
			}
			time.Sleep(time.Until(sent.Add(50 * time.Millisecond)))
		}
	})
	for _, want := range []struct {
		layer    string
		p50, p95 float64 // ms
	}{
		{"NR-SA n78", 15.5, 22.5}, // CICV5G: p50 15–16, p95 22–23
		{"NR-SA n8", 18.5, 25.5},  // CICV5G: p50 18–19, p95 25–26
	} {
		values := byLayer[want.layer]
		p50, p95 := quantile(values, 0.5).Seconds()*1000, quantile(values, 0.95).Seconds()*1000
		t.Logf("%s: %d round trips, p50 %.1f ms, p95 %.1f ms", want.layer, len(values), p50, p95)
		if p50 < want.p50-1 || p50 > want.p50+1 || p95 < want.p95-2 || p95 > want.p95+2 {
			t.Errorf("%s: p50 %.1f ms, p95 %.1f ms, published %.1f and %.1f", want.layer, p50, p95, want.p50, want.p95)
		}
	}
	if p50 := quantile(byLayer["LTE B3"], 0.5); p50 < 30*time.Millisecond {
		t.Errorf("LTE p50 %v", p50)
	}
}
