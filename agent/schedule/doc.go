// Package schedule decides when probes run: once a period, spread and in random order, in lanes that keep load tests and
// latency measurements apart, and again after a pause when a continuous measurement ended by itself.
package schedule
