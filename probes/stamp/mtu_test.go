package stamp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// mtuAcross searches for the path MTU across an emulated link, which drops what is too long without a word: a black hole.
func mtuAcross(t *testing.T, up, down netsim.State, serve func(context.Context, probes.Network) error) *probes.Result {
	t.Helper()
	b := probetest.NewBenchOf(t, uint64(up.MTU), up, down) // each loses others
	b.Serve(serve)
	c := defaults()
	c.PathMTU, c.Count = true, 10
	return b.Measure(t.Context(), Kind(), &c, probetest.FarName)
}

// TestPathMTUOfBlackHoles finds each MTU to the byte, each way by itself, with few packets.
func TestPathMTUOfBlackHoles(t *testing.T) {
	const headers = 28 // the emulated MTU is that of a datagram without them
	for _, c := range []struct{ up, down, want, wantDown int }{
		{1400, 1400, 1400, 1400},
		{1280, 1280, 1280, 1280},
		{1500, 1500, 1500, 1500},
		{1500, 1399, 1500, 1399},
		{1333, 1500, 1333, 1333}, // no reply is longer than its request
		{1200, 1200, 1200, 1200},
		{8999, 8999, 8999, 8999},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			up, down := netsim.State{Delay: 10 * ms, MTU: c.up - headers}, netsim.State{Delay: 10 * ms, MTU: c.down - headers}
			r := mtuAcross(t, up, down, serving(&Reflector{}))
			value(t, r, "path_mtu_up_bytes", float64(c.want))
			value(t, r, "path_mtu_down_bytes", float64(c.wantDown))
			value(t, r, "path_mtu_bytes", float64(min(c.want, c.wantDown)))
			value(t, r, "packets_received", 10)
			t.Logf("%d up, %d down: %s packets, %v", c.up, c.down, r.Info["path_mtu_packets"], time.Since(began))
			if took := time.Since(began); took > mtuTimeout {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestPathMTUDespiteLoss: a packet lost by chance is not taken for one that is too long, and where so many are lost that the
// search does not end, nothing but that is told.
func TestPathMTUDespiteLoss(t *testing.T) {
	unfinished := map[float64]int{}
	for _, loss := range []float64{0, 0.005, 0.01, 0.02, 0.05} {
		for mtu := 1203; mtu <= 1500; mtu += 7 {
			synctest.Test(t, func(t *testing.T) {
				lossy := netsim.State{Delay: 10 * ms, MTU: mtu - 28, Loss: loss}
				r := mtuAcross(t, lossy, lossy, serving(&Reflector{}))
				least := 0
				if n, _ := fmt.Sscanf(r.Info["path_mtu_missing"], "on the way up, which is %d at least: too many packets were lost", &least); n == 0 {
					value(t, r, "path_mtu_up_bytes", float64(mtu))
					value(t, r, "path_mtu_down_bytes", float64(mtu))
					return
				}
				unfinished[loss]++
				absent(t, r, "path_mtu_up_bytes")
				absent(t, r, "path_mtu_down_bytes")
				absent(t, r, "path_mtu_bytes")
				if least < baseMTU || least > mtu {
					t.Errorf("said to be %d at least, and is %d", least, mtu)
				}
			})
		}
	}
	if diff := cmp.Diff(map[float64]int{0.05: 1}, unfinished); diff != "" {
		t.Errorf("searches of 43 that did not end, by loss (-want +got):\n%s", diff)
	}
}

// TestPathMTUOfForeignReflectors: one without extensions proves both ways together, one with replies of a fixed size the
// way up alone, one that is not there nothing.
func TestPathMTUOfForeignReflectors(t *testing.T) {
	for name, c := range map[string]struct {
		answer        func(request []byte) []byte
		both, up      float64
		missing, fail string
	}{
		"copies": {func(b []byte) []byte { return b }, 1400, 0, "per direction: the reflector does not shorten replies (RFC 10052)", ""},
		"fixed":  {func(b []byte) []byte { return b[:44] }, 0, 1400, "on the way down: the reflector's replies are not as long as requests", ""},
		"absent": {func([]byte) []byte { return nil }, 0, 0, "", "no reply from far.example to 6 packets"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link := netsim.State{Delay: 10 * ms, MTU: 1400 - 28}
				r := mtuAcross(t, link, link, func(ctx context.Context, far probes.Network) error {
					pc, err := far.ListenPacket(ctx, "udp", ":8620")
					if err != nil {
						return err
					}
					context.AfterFunc(ctx, func() { _ = pc.Close() })
					buffer := make([]byte, maxPacketSize)
					for {
						n, from, err := pc.ReadFrom(buffer)
						if err != nil {
							return nil
						}
						var q request
						if !q.parse(buffer[:n], unauthenticated) {
							continue
						}
						packet := append([]byte(nil), buffer[:n]...)
						(&reply{seq: q.seq, t3: q.t1, t2: q.t1, senderSeq: q.seq, t1: q.t1}).put(packet, unauthenticated)
						if packet = c.answer(packet); packet != nil {
							if _, err := pc.WriteTo(packet, from); err != nil {
								return err
							}
						}
					}
				})
				for name, want := range map[string]float64{"path_mtu_bytes": c.both, "path_mtu_up_bytes": c.up, "path_mtu_down_bytes": 0} {
					if want == 0 {
						absent(t, r, name)
					} else {
						value(t, r, name, want)
					}
				}
				if r.Info["path_mtu_missing"] != c.missing || !strings.Contains(r.Error, c.fail) || (c.fail == "") != (r.Error == "") {
					t.Errorf("missing %q, error %q", r.Info["path_mtu_missing"], r.Error)
				}
			})
		})
	}
}

func TestPathMTUAndWindows(t *testing.T) {
	c := defaults()
	c.PathMTU, c.Window = true, time.Second
	if err := c.check(); err == nil || err.Error() != "path_mtu: it is searched for before a measurement that ends: leave window away" {
		t.Errorf("got %v", err)
	}
}

// TestPlanOfPathMTU: the search is reserved and charged.
func TestPlanOfPathMTU(t *testing.T) {
	c := defaults()
	plain, _ := Kind().WorstCase(&c)
	c.PathMTU = true
	worst, _ := Kind().WorstCase(&c)
	spent, _ := Kind().Spent(&c, &probes.Result{Values: map[string]float64{"packets_sent": 100}, Info: map[string]string{mtuNote: "11"}})
	if worst-plain != 2*1500*111 || spent != plain+11*2*1500 {
		t.Errorf("%d reserved for the search and %d charged", worst-plain, spent-plain)
	}
}
