package probetest

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// checkFailed lists what is wrong with a run that could not measure anything.
func (s Suite) checkFailed(t *testing.T, b *Bench, host string, want probes.Outcome) {
	t.Helper()
	config := s.config()
	probe := b.build(s.Kind, config, host)
	start := time.Now()
	results := run(b.ctx, s.Kind, probe, config)
	if limit := cmp.Or(s.Kind.Timeout(config), endlessRun) + promptly; time.Since(start) > limit {
		t.Errorf("took %v, want at most %v", time.Since(start), limit)
	}
	if len(results) == 0 {
		t.Fatal("no Result: a failed measurement is data")
	}
	for _, r := range results {
		endless := s.endless() && r.Outcome == probes.Canceled && want == probes.Timeout
		if r.Outcome != want && !endless {
			t.Errorf("outcome %s (%s), want %s", r.Outcome, r.Error, want)
		}
		for _, p := range append(checkValues(s.Kind, r), checkNothingCounted(r)...) {
			t.Error(p)
		}
	}
	b.checkClosed()
}

func (s Suite) testClosed(t *testing.T) {
	b := s.bench(t)
	s.checkFailed(t, b, FarName, cmp.Or(s.Closed, probes.Timeout))
}

func (s Suite) testSilent(t *testing.T) {
	b := NewBench(t, netsim.State{Down: true}, netsim.State{Down: true})
	s.serve(b)
	s.checkFailed(t, b, FarName, probes.Timeout)
}

func (s Suite) testNoName(t *testing.T) {
	b := s.bench(t)
	s.checkFailed(t, b, "nobody.example", probes.Unreachable)
}

func (s Suite) testNoRoute(t *testing.T) {
	b := s.bench(t)
	s.checkFailed(t, b, "198.51.100.1", probes.Unreachable)
}

// garbage is a far end that answers everything with what makes no sense.
type garbage struct {
	name string
	// datagrams answers one request; stream is what comes first on every TCP connection.
	datagrams func(r *rand.Rand, request []byte) [][]byte
	stream    func(r *rand.Rand) []byte
	hangUp    bool // close the TCP connection behind the garbage
}

func garbages() []garbage {
	return []garbage{
		{
			name: "random bytes",
			datagrams: func(r *rand.Rand, request []byte) [][]byte {
				return [][]byte{random(r, len(request)), random(r, r.IntN(1500)), random(r, 1), {}}
			},
			stream: func(r *rand.Rand) []byte { return random(r, 8192) },
		},
		{
			name: "random bytes and an end",
			datagrams: func(r *rand.Rand, request []byte) [][]byte {
				return [][]byte{random(r, r.IntN(64)), random(r, 65000)}
			},
			stream: func(r *rand.Rand) []byte { return random(r, 100) },
			hangUp: true,
		},
		{
			name:      "nothing but an end",
			datagrams: func(*rand.Rand, []byte) [][]byte { return [][]byte{{}} },
			stream:    func(*rand.Rand) []byte { return nil },
			hangUp:    true,
		},
		{
			name: "all ones",
			datagrams: func(_ *rand.Rand, request []byte) [][]byte {
				return [][]byte{ones(len(request)), ones(44), ones(1400)}
			},
			stream: func(*rand.Rand) []byte { return ones(8192) },
		},
	}
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func ones(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func (s Suite) testGarbage(t *testing.T, g garbage) {
	b := s.bench(t)
	for _, port := range ports(s.Kind) {
		b.Serve(func(ctx context.Context, network probes.Network) error { return g.serve(ctx, network, port) })
	}
	config := s.config()
	probe := b.build(s.Kind, config, FarName)
	start := time.Now()
	results := run(b.ctx, s.Kind, probe, config)
	if limit := cmp.Or(s.Kind.Timeout(config), endlessRun) + promptly; time.Since(start) > limit {
		t.Errorf("took %v, want at most %v", time.Since(start), limit)
	}
	for _, r := range results {
		for _, p := range append(checkValues(s.Kind, r), checkNothingCounted(r)...) {
			t.Errorf("%s (%s)", p, r.Error)
		}
	}
	b.checkClosed()
}

// ports are where a probe of the kind may knock.
func ports(k probes.Kind) []uint16 {
	list := []uint16{farend.StreamPort, farend.TLSPort}
	if k.Port != 0 && k.Port != farend.StreamPort && k.Port != farend.TLSPort {
		list = append(list, k.Port)
	}
	return list
}

// serve answers on one port, UDP and TCP, until ctx ends.
func (g garbage) serve(ctx context.Context, network probes.Network, port uint16) error {
	address := ":" + strconv.Itoa(int(port))
	pc, err := network.ListenPacket(ctx, "udp", address)
	if err != nil {
		return err
	}
	l, err := network.Listen(ctx, "tcp", address)
	if err != nil {
		return errors.Join(err, pc.Close())
	}
	var serving sync.WaitGroup
	serving.Go(func() { g.servePackets(pc) })
	serving.Go(func() { g.serveStreams(ctx, l) })
	<-ctx.Done()
	err = errors.Join(pc.Close(), l.Close())
	serving.Wait()
	return err
}

func (g garbage) servePackets(pc net.PacketConn) {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 65536)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		for _, d := range g.datagrams(r, b[:n]) {
			_, _ = pc.WriteTo(d, from)
		}
	}
}

func (g garbage) serveStreams(ctx context.Context, l net.Listener) {
	r := rand.New(rand.NewPCG(5, 6))
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		payload := g.stream(r)
		open.Go(func() {
			defer c.Close()
			_, _ = c.Write(payload)
			if g.hangUp {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			b := make([]byte, 4096)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
		})
	}
}
