package plan

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestLook(t *testing.T) {
	dir := t.TempDir()
	statistics := filepath.Join(dir, "wwan0", "statistics")
	if err := os.MkdirAll(statistics, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"rx_bytes": "1000\n", "tx_bytes": "18446744073709\n"} {
		if err := os.WriteFile(filepath.Join(statistics, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := lookIn(dir, "wwan0"), (Traffic{18446744074709, true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, name := range []string{"", "..", ".", "wwan1", "../" + filepath.Base(dir) + "/wwan0"} {
		if got := lookIn(dir, name); got.known {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

func TestLookCountsRealPackets(t *testing.T) {
	before := Look("lo")
	if !before.known {
		t.Skip("the loopback interface shows no counters here")
	}
	c, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if after := Look("lo"); after.bytes-before.bytes < 2*1028 {
		t.Errorf("1000 bytes over the loopback count as %d, want 2056 or more", after.bytes-before.bytes)
	}
}
