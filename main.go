// Command nrprobe tells what a 5G link is really like: see README.md, or nrprobe --help.
package main

import (
	"os"

	"github.com/nrprobe/nrprobe/configs/cli"
	"github.com/nrprobe/nrprobe/probes/all"
)

// version is set by the linker.
var version = "devel"

func main() {
	// quic-go tells of small UDP buffers through the log package, past --log-level, and only root could make them larger.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(cli.Run(cli.Process{
		Args:      os.Args[1:],
		LookupEnv: os.LookupEnv,
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		Terminal:  isTerminal(os.Stderr),
		Version:   version,
		Kinds:     all.Kinds(),
		FarEnds:   all.FarEnds,
	}))
}

// isTerminal is true for /dev/null too, where a progress display does no harm.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
