package unit

import (
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "1500": 1500, "64MiB": 64 << 20, "20GB": 20e9, "1.5kB": 1500, "7 MiB": 7 << 20, "512kib": 512 << 10,
	} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1e400", "12 parsecs", "NaN", "9999999TiB"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{"20Mbit/s": 2.5e6, "8bit/s": 1, "2.5MB/s": 2.5e6, "1Gbps": 125e6, "0bit/s": 0} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("ParseRate(%q) = %v, %v; want %v", text, float64(got), err, float64(want))
		}
	}
	for _, text := range []string{"", "20", "-1Mbit/s", "fast", "1e999Gbit/s"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("ParseRate(%q) = %v, want an error", text, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"10ms": 10 * time.Millisecond, "7d": 168 * time.Hour, "1.5d": 36 * time.Hour, "1h30m": 90 * time.Minute, "0": 0} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "d", "ten", "99999999d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Minute: "1h30m", 168 * time.Hour: "7d", 30 * time.Second: "30s", 10 * time.Minute: "10m", 0: "0s"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, seed := range []string{"64MiB", "20Mbit/s", "7d", "-1", "1e9GB", "0x10"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := ParseBytes(s); err == nil {
			if back, err := ParseBytes(b.String()); err != nil || back != b {
				t.Errorf("%q is %d bytes, but %q reads back as %d, %v", s, b, b, back, err)
			}
		}
		if r, err := ParseRate(s); err == nil {
			if _, err := ParseRate(r.String()); err != nil {
				t.Errorf("%q is a rate, but its own text %q is not: %v", s, r, err)
			}
		}
		if d, err := ParseDuration(s); err == nil {
			if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
				t.Errorf("%q is %v, but %q reads back as %v, %v", s, d, FormatDuration(d), back, err)
			}
		}
	})
}
