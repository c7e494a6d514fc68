package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/collector/queue"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/wire"
)

// SeenReader is the name of the reader of the queue that belongs to the memory of Results. No sink may have it.
const SeenReader = "(seen)"

// saveEvery is how often the memory is written down, and so how much of the queue is read again after a crash.
const saveEvery = 30 * time.Second

// intake is the one way into the queue. It keeps the promise that an acknowledged Result is not accepted again: the
// memory of what was accepted is in a file, and what was accepted after the file was written is still in the queue,
// because a reader of its own holds it there.
type intake struct {
	queue *queue.Queue
	seen  *Seen
	file  string
	log   *slog.Logger

	// Requests that bring Results of the same agent wait for each other, or the second could be told that a Result is
	// safe while the first is still writing it.
	seed  maphash.Seed
	locks [256]sync.Mutex
	// saving is held for reading from before a batch is in the queue until it is in the memory too.
	saving sync.RWMutex
}

// newIntake reads the memory back. folder is the queue's.
func newIntake(q *queue.Queue, folder string, log *slog.Logger) (*intake, error) {
	in := &intake{queue: q, seen: NewSeen(), file: filepath.Join(folder, "seen"), log: log, seed: maphash.MakeSeed()}
	text, err := os.ReadFile(in.file)
	if err == nil {
		err = in.seen.UnmarshalBinary(text)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("the memory of accepted Results is damaged; copies of older ones may be accepted again", "file", in.file, "error", err)
	}
	reader := q.Reader(SeenReader)
	for reader.Pending() > 0 {
		lease, err := reader.Next(context.Background(), 4<<20)
		if err != nil {
			return nil, fmt.Errorf("reading the queue back: %w", err)
		}
		for _, b := range lease.Batches {
			if lines, err := b.Lines(); err == nil {
				for _, r := range wire.Decode(lines, wire.Options{}).Results {
					in.seen.Mark(r.ID)
				}
			}
		}
		if err := in.write(); err != nil {
			return nil, err
		}
		if err := lease.Ack(); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// accept gives build the Results that are new, puts the batch that it makes of them into the queue and returns them when
// that is durable. build may return nil when nothing is left to keep.
func (in *intake) accept(results []*probes.Result, build func(fresh []*probes.Result) (*queue.Batch, error)) (fresh []*probes.Result, err error) {
	unlock := in.lock(results)
	defer unlock()
	in.saving.RLock()
	defer in.saving.RUnlock()
	for _, r := range results {
		if !in.seen.Has(r.ID) {
			fresh = append(fresh, r)
		}
	}
	b, err := build(fresh)
	if err != nil || b == nil {
		return nil, err
	}
	if err := in.queue.Append(*b); err != nil {
		return nil, err
	}
	for _, r := range fresh {
		in.seen.Mark(r.ID)
	}
	return fresh, nil
}

// lock takes the locks of all agents concerned, in one order everywhere.
func (in *intake) lock(results []*probes.Result) (unlock func()) {
	var wanted []int
	for i, r := range results {
		if i == 0 || r.ID.Agent != results[i-1].ID.Agent {
			wanted = append(wanted, int(maphash.String(in.seed, r.ID.Agent)%uint64(len(in.locks))))
		}
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	for _, i := range wanted {
		in.locks[i].Lock()
	}
	return func() {
		for _, i := range wanted {
			in.locks[i].Unlock()
		}
	}
}

// run writes the memory down now and then, and a last time when ctx ends.
// Liveness: it returns when ctx ends, after one last write.
func (in *intake) run(ctx context.Context) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return in.save(context.WithoutCancel(ctx))
		case <-tick.C:
			if err := in.save(ctx); err != nil && ctx.Err() == nil {
				in.log.Error("writing down which Results were accepted; it is tried again", "file", in.file, "error", err)
			}
		}
	}
}

// save writes the memory down and lets the queue go of what is in it.
func (in *intake) save(ctx context.Context) error {
	reader := in.queue.Reader(SeenReader)
	in.saving.Lock()
	covered := reader.Pending()
	text, err := in.seen.MarshalBinary()
	in.saving.Unlock()
	if err != nil || covered == 0 {
		return err
	}
	if err := replaceFile(in.file, text); err != nil {
		return err
	}
	for covered > 0 && reader.Pending() > 0 {
		lease, err := reader.NextUpTo(ctx, 4<<20, int(min(covered, 10_000)))
		if err != nil {
			return err
		}
		if err := lease.Ack(); err != nil {
			return err
		}
		covered -= min(covered, uint64(lease.Records()))
	}
	return nil
}

func (in *intake) write() error {
	text, err := in.seen.MarshalBinary()
	if err != nil {
		return err
	}
	return replaceFile(in.file, text)
}

// replaceFile writes a file so that a crash leaves either the old one or the new one.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // without effect once it is renamed
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
