package probes

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// exact is the nearest-rank quantile of the values themselves.
func exact(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q*float64(len(sorted)) - 1e-9))
	return sorted[max(rank, 1)-1]
}

func TestQuantilesAreWithinTheirBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := map[string]func() float64{
		"uniform":   func() float64 { return 0.001 + 0.1*rng.Float64() },
		"lognormal": func() float64 { return 0.015 * math.Exp(0.5*rng.NormFloat64()) },
		"pareto":    func() float64 { return 0.01 * math.Pow(1-rng.Float64(), -1/1.5) },
		"two modes": func() float64 { return []float64{0.0101, 0.93}[rng.IntN(2)] },
	}
	for name, f := range draw {
		var h Hist
		values := make([]float64, 5000)
		for i := range values {
			values[i] = f()
			h.Add(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
			want, got := exact(values, q), h.Quantile(q)
			if math.Abs(got-want) > 0.022*want {
				t.Errorf("%s: quantile %v is %v, the samples say %v", name, q, got, want)
			}
		}
		if h.Min() != values[0] || h.Max() != values[len(values)-1] || h.Count() != 5000 {
			t.Errorf("%s: min, max or count is not exact", name)
		}
	}
}

func TestBucketsArePrometheusNative(t *testing.T) {
	// A native histogram's bucket i holds (2^((i-1)/2^schema), 2^(i/2^schema)].
	for i := int32(-400); i <= 200; i++ {
		upper := histUpper(i)
		if want := math.Exp2(float64(i) / 16); math.Abs(upper/want-1) > 1e-12 {
			t.Fatalf("upper bound of bucket %d is %v, want %v", i, upper, want)
		}
		if got := histIndex(upper); got != i {
			t.Errorf("%v, the upper bound of bucket %d, falls into bucket %d", upper, i, got)
		}
		if got := histIndex(math.Nextafter(upper, math.Inf(1))); got != i+1 {
			t.Errorf("just above the bound of bucket %d falls into bucket %d", i, got)
		}
	}
}

func TestMergeEqualsAddingAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var a, b, both Hist
	for range 1000 {
		v, w := rng.ExpFloat64()*0.02, rng.ExpFloat64()*3
		a.Add(v)
		b.Add(w)
		both.Add(v)
		both.Add(w)
	}
	b.Add(0)
	both.Add(0)
	a.Merge(&b)
	a.Merge(nil)
	a.sum, both.sum = 0, 0 // the order of additions differs in the last bits
	if !a.Equal(&both) {
		t.Errorf("merged:\n%s\nadded:\n%s", a.Text(), both.Text())
	}
}

func TestHistTextRoundTrip(t *testing.T) {
	var h Hist
	for _, v := range []float64{0, 1e-12, 0.015, 0.0151, 0.3, 12, 1e30, math.NaN(), math.Inf(1)} {
		h.Add(v)
	}
	back, err := ParseHist(h.Text())
	if err != nil || !back.Equal(&h) {
		t.Errorf("%s reads back as %v, %v", h.Text(), back, err)
	}
	if h.Count() != 7 {
		t.Errorf("count is %d, want 7: NaN and infinity are no values", h.Count())
	}
	for _, bad := range []string{
		"", "3;0;0;0;0;0;", "4;1;0;0;0;0;", "4;1;1;1;1;0;0:1,0:1", "4;2;1;1;1;0;5:1,-3:1", "4;1;NaN;1;1;0;0:1",
		"4;1;1;2;1;0;0:1", "4;1;1;1;1;0;99999:1", "4;18446744073709551615;1;1;1;2;0:18446744073709551615",
	} {
		if got, err := ParseHist(bad); err == nil {
			t.Errorf("ParseHist(%q) = %v, want an error", bad, got)
		}
	}
}

func FuzzParseHist(f *testing.F) {
	f.Add("4;3;0.06;0.02;0.02;0;-90:3")
	f.Add("4;0;0;0;0;0;")
	f.Add("4;2;1;0;1;1;0:1")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHist(text)
		if err != nil {
			return
		}
		back, err := ParseHist(h.Text())
		if err != nil || !back.Equal(h) {
			t.Errorf("%q reads back differently: %v", text, err)
		}
		j, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var fromJSON Hist
		if err := json.Unmarshal(j, &fromJSON); err == nil && !fromJSON.Equal(h) {
			t.Errorf("%q: JSON %s reads back differently", text, j)
		}
		for _, q := range []float64{0, 0.5, 1} {
			if v := h.Quantile(q); math.IsNaN(v) {
				t.Errorf("%q: quantile %v is NaN", text, q)
			}
		}
	})
}

func BenchmarkHistAdd(b *testing.B) {
	var h Hist
	for b.Loop() {
		h.Add(0.0153)
	}
}
