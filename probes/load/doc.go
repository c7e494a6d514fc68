// Package load is what the kinds of probes that load a link share: bytes sent as fast as a connection takes them, bytes
// received and counted without being copied, what the kernel knows about both, and what the host says of what surrounds any
// measurement: other traffic on its interface, and a processor that is busy.
package load
