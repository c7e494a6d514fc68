package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/nrprobe/nrprobe/configs"
)

// serve runs a daemon until it ends, and calls reload on each SIGHUP meanwhile.
// Liveness: returns when the daemon does; the goroutine that reloads ends before.
func serve(ctx context.Context, log *slog.Logger, run func(context.Context) error, reload func()) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	over := make(chan struct{})
	var reloading sync.WaitGroup
	reloading.Go(func() {
		asked := ctx.Done()
		for {
			select {
			case <-hup:
				reload()
			case <-asked:
				log.Info("ending in order; a second signal ends at once")
				asked = nil
			case <-over:
				return
			}
		}
	})
	err := run(ctx)
	close(over)
	reloading.Wait()
	return ended(ctx, err)
}

// refused is how a daemon ended that did not get to work: then a file that it was told of and cannot use is a wrong configuration
// too. One that fails when it was asked to end is not: it could be used before.
func refused(ctx context.Context, err error) error {
	if _, path := errors.AsType[*fs.PathError](err); path && ctx.Err() == nil {
		return &exitError{code: exitUsage, err: err}
	}
	return ended(ctx, err)
}

// ended is how a daemon ended: being asked to is its way to end well, and no interruption. An address that it was told of and
// cannot use is a wrong configuration; other errors are failures, since it has no target that could be out of reach.
func ended(ctx context.Context, err error) error {
	_, problems := errors.AsType[configs.Problems](err)
	_, address := errors.AsType[*net.AddrError](err)
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return nil
	case problems, address:
		return &exitError{code: exitUsage, err: err}
	default:
		return &exitError{code: exitFailed, err: err}
	}
}
