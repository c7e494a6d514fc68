package host

import (
	"net"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// TestNameOfTheOtherFamily: a name that the hosts file gives addresses of the other family alone is not reachable.
func TestNameOfTheOtherFamily(t *testing.T) {
	err := (&network{config: Config{Family: "6"}}).explainLookup(&net.AddrError{Err: "no suitable address found", Addr: "far.example"})
	if want := "address far.example: no suitable address found: it has no IPv6 address"; err.Error() != want || probes.Classify(err) != probes.Unreachable {
		t.Errorf("%s: %v, want unreachable: %s", probes.Classify(err), err, want)
	}
}
