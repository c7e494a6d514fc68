// Package all lists the kinds of sinks. A new one is a package of its own and one line here.
package all

import (
	"github.com/nrprobe/nrprobe/collector/sinks"
	"github.com/nrprobe/nrprobe/collector/sinks/influx"
	"github.com/nrprobe/nrprobe/collector/sinks/tsdb"
	"github.com/nrprobe/nrprobe/configs/catalog"
)

// Kinds returns the catalog of all kinds of sinks.
func Kinds() catalog.Catalog[sinks.Kind] {
	return catalog.New("sink kind", tsdb.Kind(), influx.Kind())
}
