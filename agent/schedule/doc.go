// Package schedule decides when probes run: at stable, spread start times without drift, in lanes that keep load tests and
// latency measurements apart, and again after a pause when a continuous measurement ended by itself.
package schedule
