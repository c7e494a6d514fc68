// Package load is what the kinds of probes that load a link share: bytes sent as fast as a connection takes them, bytes
// received and counted without being copied, and what the kernel knows about both.
package load
