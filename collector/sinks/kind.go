package sinks

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Env is what a sink is given besides its configuration.
type Env struct {
	// Name is the sink's name in the configuration, distinct among the sinks of a collector.
	Name string
	// Log is for what the operator should know. Never nil.
	Log *slog.Logger
	// Metrics takes the sink's own metrics, already labelled with its name. Never nil.
	Metrics prometheus.Registerer
}

// Kind is a kind of sink: all that the configuration and the documentation need to know.
type Kind struct {
	// Name is the word in configuration files.
	Name string
	// Summary is one line without a full stop; Help says in some lines what the sink does and does not.
	Summary, Help string

	newConfig func() any
	build     func(config any, env Env) (Sink, error)
}

// CatalogName implements catalog.Named.
func (k Kind) CatalogName() string { return k.Name }

// NewConfig returns a pointer to a fresh configuration struct that holds the kind's defaults.
func (k Kind) NewConfig() any { return k.newConfig() }

// Build makes a sink from a configuration that NewConfig returned. It may open files and never the network. The error
// names the setting.
func (k Kind) Build(config any, env Env) (Sink, error) { return k.build(config, env) }

// Define completes a kind with its typed configuration: defaults makes a fresh one, build a sink from it.
func Define[C any](k Kind, defaults func() C, build func(c C, env Env) (Sink, error)) Kind {
	k.newConfig = func() any { c := defaults(); return &c }
	k.build = func(config any, env Env) (Sink, error) { return build(*config.(*C), env) }
	return k
}
