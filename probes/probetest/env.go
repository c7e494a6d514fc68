package probetest

import (
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// Env is what a probe gets in tests: the network given, a log that appears in the test's output, seeded randomness, and
// TLS that trusts Certificate.
func Env(t testing.TB, network probes.Network) probes.Env {
	t.Helper()
	return probes.Env{
		Net:  network,
		Log:  slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Rand: seeded(),
		TLS:  ClientTLS,
	}
}

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
