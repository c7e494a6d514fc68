package stamp

import (
	"testing"

	"github.com/nrprobe/nrprobe/probes/probetest"
)

func TestSuite(t *testing.T) {
	probetest.Suite{Kind: Kind(), FarEnd: FarEnd(quiet()), Config: func(c any) { c.(*Config).Count = 50 }}.Run(t)
}
