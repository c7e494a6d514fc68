package netsim

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func mustTrace(t *testing.T, text string) *Course {
	t.Helper()
	c, err := LoadTrace(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTraceOfRates(t *testing.T) {
	c := mustTrace(t, "t_s,dl_mbps,ul_mbps,rtt_ms,rat\n10,80,8,,5G SA\n11,0,0,30,5G NSA\n12,8,8,,LTE\n20,8,8,50,LTE\n")
	if c.Length != 11*time.Second || !slices.Equal(c.Outages, []Interval{{3 * time.Second, 10 * time.Second}}) {
		t.Errorf("length %v, outages %v", c.Length, c.Outages)
	}
	for _, want := range []struct {
		at       time.Duration
		down, up float64
		delay    time.Duration
		out      bool
		rat      string
	}{
		{0, 10e6, 1e6, 15 * time.Millisecond, false, "NR-SA"}, // the first known round trip holds before it
		{1500 * time.Millisecond, 125e3, 125e3, 15 * time.Millisecond, false, "NR-NSA"},
		{2 * time.Second, 1e6, 1e6, 15 * time.Millisecond, false, "LTE"},
		{3 * time.Second, 1e6, 1e6, 15 * time.Millisecond, true, "LTE"},
		{10 * time.Second, 1e6, 1e6, 25 * time.Millisecond, false, "LTE"},
		{11 * time.Second, 10e6, 1e6, 15 * time.Millisecond, false, "NR-SA"}, // begins again
	} {
		down, up := c.Down.At(want.at), c.Up.At(want.at)
		if down.Rate != want.down || up.Rate != want.up || down.Delay != want.delay || up.Delay != want.delay || down.Down != want.out || up.Down != want.out {
			t.Errorf("at %v: down %+v, up %+v", want.at, down, up)
		}
		if r := c.RadioAt(want.at); r == nil || r.RAT != want.rat {
			t.Errorf("at %v: radio %+v", want.at, r)
		}
	}
}

func TestTraceOfRoundTrips(t *testing.T) {
	c := mustTrace(t, "pub_unix_ms,rtt_ms,utm_x_m,utm_y_m,speed_mps,cell_id,sinr_db,rsrp_dbm\n"+
		"1000,20,1,2,5.5,5C4225714,17,-94\n1100,30,1,2,5,5C4225714,,-96\n")
	c, err := c.Faster(2)
	if err != nil {
		t.Fatal(err)
	}
	if c.Length != 75*time.Millisecond {
		t.Errorf("length %v, want half of 150 ms", c.Length)
	}
	if s := c.Up.At(49 * time.Millisecond); s != (State{Delay: 10 * time.Millisecond}) {
		t.Errorf("first row: %+v", s)
	}
	if s := c.Down.At(50 * time.Millisecond); s != (State{Delay: 15 * time.Millisecond}) {
		t.Errorf("second row: %+v", s)
	}
	r := c.RadioAt(0)
	if r.RAT != "NR-SA" || r.Cell != "5C4225714" || *r.SINR != 17 || *r.RSRP != -94 || *r.Speed != 5.5 {
		t.Errorf("radio %+v", r)
	}
	if r := c.RadioAt(60 * time.Millisecond); r.SINR != nil || *r.RSRP != -96 {
		t.Errorf("radio with an absent value %+v", r)
	}
}

func TestTraceErrors(t *testing.T) {
	const rates, trips = "t_s,dl_mbps,ul_mbps,rtt_ms\n", "pub_unix_ms,rtt_ms\n"
	for _, c := range []struct {
		name, text, want string
	}{
		{"empty", "", "trace: reading the line with the names of the columns: EOF"},
		{"columns", "a,b\n1,2\n", `trace: columns ["a" "b"] are none that are known: want t_s,dl_mbps,ul_mbps,rtt_ms or pub_unix_ms,rtt_ms`},
		{"no rows", rates, "trace: no rows below the names of the columns"},
		{"word", rates + "0,1,1,1\n1,x,1,1\n", `trace: line 3: dl_mbps: "x" is not a number from 0 to 1e+06`},
		{"not a number", rates + "0,NaN,1,1\n", `trace: line 2: dl_mbps: "NaN" is not a number from 0 to 1e+06`},
		{"negative", trips + "5,-1\n", `trace: line 2: rtt_ms: "-1" is not a number from 0 to 60000`},
		{"backwards", trips + "5,1\n4,1\n", "trace: line 3: pub_unix_ms: 4 is before the row above: sort the rows by time"},
		{"no time", trips + ",1\n", "trace: line 2: pub_unix_ms: no time"},
		{"too long", rates + "0,1,1,1\n99999999,1,1,1\n", "trace: line 3: t_s: 9.9999999e+07 is more than 744 hours after the first row"},
		{"short row", trips + "5\n", "trace: line 2: wrong number of fields"},
	} {
		_, err := LoadTrace(strings.NewReader(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := LoadTraceFile(filepath.Join(t.TempDir(), "absent.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

func TestFasterRefusesNonsense(t *testing.T) {
	c := mustTrace(t, "pub_unix_ms,rtt_ms\n1,1\n")
	for _, times := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := c.Faster(times); err == nil {
			t.Errorf("%v times as fast: no error", times)
		}
	}
}

// recording finds the real recordings, which are not part of the repository.
func recording(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("NRPROBE_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no recordings: %v; set NRPROBE_DATA to the folder that holds them", err)
	}
	return path
}

func TestReplayedRoundTripsAreThoseRecorded(t *testing.T) {
	path := recording(t, "cicv5g_rtt_radio/urban_n78_v30_run01.csv")
	course, err := LoadTraceFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var recorded []time.Duration
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		ms, err := time.ParseDuration(strings.Split(line, ",")[1] + "ms")
		if err == nil { // all but the names of the columns
			recorded = append(recorded, ms)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		_, edge, far := pair(t, course.Up, course.Down)
		echo(t, far)
		c, err := edge.Dial(t.Context(), "udp", "192.0.2.1:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		count := int(course.Length / (50 * time.Millisecond)) // 20 Hz
		sent := make([]time.Time, count)
		measured := make(chan []time.Duration)
		go func() {
			var rtts []time.Duration
			b := make([]byte, 8)
			for len(rtts) < count {
				if _, err := c.Read(b); err != nil {
					break
				}
				rtts = append(rtts, time.Since(sent[binary.BigEndian.Uint64(b)]))
			}
			measured <- rtts
		}()
		for i := range sent {
			sent[i] = time.Now()
			if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(i))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		rtts := <-measured
		if len(rtts) != count {
			t.Fatalf("%d of %d came back", len(rtts), count)
		}
		for _, q := range []float64{0.5, 0.95} {
			got, want := quantile(rtts, q), quantile(recorded, q)
			t.Logf("p%g: recorded %v, measured %v", 100*q, want, got)
			if diff := (got - want).Abs(); diff > want/20+200*time.Microsecond {
				t.Errorf("p%g: measured %v, recorded %v", 100*q, got, want)
			}
		}
	})
}

// quantile is the nearest-rank quantile.
func quantile(values []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func TestEveryRecordingIsRead(t *testing.T) {
	for _, name := range []string{
		"cicv5g_rtt_radio/south_n8_v10_01.csv", "cicv5g_rtt_radio/urban_n8_v30_run01.csv", "cicv5g_rtt_radio/w2s_n8_v30_run01.csv",
		"link_traces/fjordlink_5G-DTAG-WAVELAB.csv", "link_traces/fjordlink_CAU-4329.csv",
	} {
		c, err := LoadTraceFile(recording(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r := c.RadioAt(c.Length / 2); r == nil || r.RAT == "" {
			t.Errorf("%s: radio %+v", name, r)
		}
	}
}

func FuzzLoadTrace(f *testing.F) {
	f.Add("t_s,dl_mbps,ul_mbps,rtt_ms,rat\n10,80,8,,5G SA\n11,0,0,30,5G NSA\n20,8,8,50,LTE\n")
	f.Add("pub_unix_ms,rtt_ms,cell_id,sinr_db,rsrp_dbm\n1000,20,5C4225714,17,-94\n1000,30,,,\n")
	f.Add("pub_unix_ms,rtt_ms\n1e14,1e3\n")
	f.Add("rtt_ms,pub_unix_ms\n\"\",\"1\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := LoadTrace(strings.NewReader(text))
		if err != nil {
			return
		}
		if c.Length <= 0 {
			t.Fatalf("length %v", c.Length)
		}
		for _, at := range []time.Duration{0, 1, c.Length / 2, c.Length - 1, c.Length, 10 * c.Length} {
			for _, p := range []Profile{c.Up, c.Down} {
				if s := p.At(at); s.Delay < 0 || s.Delay > maxTraceRTT || s.Rate < 0 || s.Queue < 0 || s.Rate != s.Rate {
					t.Errorf("at %v: %+v", at, s)
				}
			}
			c.RadioAt(at)
		}
	})
}
