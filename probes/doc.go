// Package probes is the vocabulary that everything else in nrprobe speaks: what a Result is and which words it may use,
// what a probe is and how one is run. The kinds of probes live in packages below, one each; none is imported here, and
// neither are YAML, Prometheus or HTTP.
package probes
