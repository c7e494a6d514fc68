package responsiveness

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// grant grants leases on the plain TCP port until the returned function is called, which says how often it was asked.
func (w *world) grant(book *lease.Book) (stop func() (asked int)) {
	l, err := w.Far.Listen(w.t.Context(), "tcp", ":8620")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	asked := 0
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked++
			serving.Go(func() {
				defer func() { _ = c.Close() }()
				if _, err := io.ReadFull(c, make([]byte, len(farend.PreambleLease))); err != nil {
					w.t.Error(err)
				}
				_ = book.FarEnd().Streams[farend.PreambleLease](ctx, c)
			})
		}
	})
	return func() int {
		cancel()
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			w.t.Error(err)
		}
		serving.Wait()
		return asked
	}
}

// TestWaitsBeforeItMeasures: an agent has the lease before it takes the interface, and Measure waits for nothing then.
// Servers that say nothing of leases are not asked for one.
func TestWaitsBeforeItMeasures(t *testing.T) {
	for what, c := range map[string]struct {
		offers bool
		told   []string
		noted  string
		asked  int
	}{
		"ours":   {true, []string{"waiting: position 1"}, "granted", 2},
		"others": {false, nil, "", 1},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book := lease.NewBook(lease.Defaults(), slog.New(slog.DiscardHandler))
				offered := book
				if !c.offers {
					offered = nil
				}
				w := newWorld(t, netsim.State{Delay: 10 * ms, Rate: 1.25e6, Queue: 62_500}, handler(FarEndLeased(offered, slog.New(slog.DiscardHandler))))
				stop := w.grant(book)
				env := probetest.Env(t, w.Edge)
				other, err := (&lease.Request{Net: w.Edge, Address: probetest.FarAddress4 + ":8620"}).Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Minute, other.Release)
				target, err := probes.ParseTarget(probetest.FarName, farend.TLSPort)
				if err != nil {
					t.Fatal(err)
				}
				config := defaults()
				config.Direction, config.Duration = "down", 3*time.Second
				p, err := Kind().Build(&config, env, target)
				if err != nil {
					t.Fatal(err)
				}
				var told []string
				held, leave, err := p.(interface {
					Enter(ctx context.Context, told func(state string)) (context.Context, func(), error)
				}).Enter(t.Context(), func(state string) { told = append(told, state) })
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(told, c.told) || (lease.ID(held) != "") != c.offers {
					t.Errorf("told %q, with the lease %q", told, lease.ID(held))
				}
				begun, rec := time.Now(), probes.NewRecorder()
				if err := p.Measure(held, rec); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took > 4*time.Second || rec.Snapshot().Info["lease"] != c.noted {
					t.Errorf("measured for %v, lease %q", took, rec.Snapshot().Info["lease"])
				}
				leave()
				other.Release()
				if asked := stop(); asked != c.asked {
					t.Errorf("%d leases asked for, want %d, that of the other one included", asked, c.asked)
				}
			})
		})
	}
}
