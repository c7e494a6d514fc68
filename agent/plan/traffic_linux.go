package plan

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// countersDir is where the kernel shows the counters of its interfaces (Documentation/ABI/testing/sysfs-class-net-statistics).
const countersDir = "/sys/class/net"

// Look reads the counters of an interface. Those of "", of one that is not there and of one that may not be read are unknown.
func Look(name string) Traffic { return lookIn(countersDir, name) }

func lookIn(dir, name string) (t Traffic) {
	if name == "" || strings.ContainsAny(name, "/\\") || name == "." || name == ".." {
		return Traffic{}
	}
	for _, counter := range []string{"rx_bytes", "tx_bytes"} {
		text, err := os.ReadFile(filepath.Join(dir, name, "statistics", counter))
		if err != nil {
			return Traffic{}
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return Traffic{}
		}
		t.bytes += n
	}
	t.known = true
	return t
}
