package access

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/nrprobe/nrprobe/configs"
)

// Keeper answers whether a request may pass. It is safe for concurrent use.
type Keeper struct {
	path string
	log  *slog.Logger
	list atomic.Pointer[list] // nil: open to everybody
	seen atomic.Pointer[os.FileInfo]
}

// Open returns a keeper that lets everybody pass.
func Open() *Keeper { return &Keeper{} }

// Load reads a tokens file. The error lists everything that is wrong with it.
func Load(path string, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{path: path, log: log}
	if err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Closed says whether a token is needed at all.
func (k *Keeper) Closed() bool { return k.list.Load() != nil }

// Check finds the grant of a request. ok is false when a token is needed and none that is known was given.
func (k *Keeper) Check(r *http.Request) (g Grant, ok bool) {
	l := k.list.Load()
	if l == nil {
		return Grant{}, true
	}
	s := secret(r)
	if s == "" {
		return Grant{}, false
	}
	return l.find(s)
}

// Reload reads the file again. On error the tokens stay as they were.
func (k *Keeper) Reload() error {
	if k.path == "" {
		return nil
	}
	info, err := os.Stat(k.path)
	if err != nil {
		return fmt.Errorf("reading tokens: %w", err)
	}
	k.seen.Store(&info)
	var l list
	if err := configs.LoadFile(k.path, &l); err != nil {
		return err
	}
	k.list.Store(&l)
	return nil
}

// lookEvery is how soon a changed file counts: someone who takes a token away does not want to wait long.
const lookEvery = 5 * time.Second

// Run reads the file again when it changes.
// Liveness: it returns when ctx ends, at once.
func (k *Keeper) Run(ctx context.Context) error {
	if k.path == "" {
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !k.changed() {
			continue
		}
		if err := k.Reload(); err != nil {
			k.log.Error("tokens file is not usable; the tokens stay as they were", "file", k.path, "error", err)
			continue
		}
		k.log.Info("tokens read again", "file", k.path, "tokens", len(k.list.Load().Tokens))
	}
}

func (k *Keeper) changed() bool {
	info, err := os.Stat(k.path)
	if err != nil {
		return false // between two versions of the file; the next look tells
	}
	last := k.seen.Load()
	return last == nil || !info.ModTime().Equal((*last).ModTime()) || info.Size() != (*last).Size()
}
