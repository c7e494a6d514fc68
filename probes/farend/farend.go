// Package farend is the seam between the kinds of probes that need a far end of their own and the reflector that serves
// all of them on a few ports. A kind describes what it answers as a Service; package reflector opens the sockets, keeps
// the limits and hands over what arrives.
package farend

import (
	"context"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"
)

// PreambleSize is how many bytes a client sends first on the plain TCP port, to say which service it wants.
const PreambleSize = 8

// Service is what one kind answers at the far end. Handlers return when their peer is done, when it misbehaves or when
// ctx ends, and only when every goroutine they started has ended. An error is logged and closes what was handed over.
// The reflector closes connections and sockets itself, after the handler returned, and calls handlers concurrently.
type Service struct {
	// Name is the kind's name.
	Name string
	// Packets answers on the UDP port that the reflector gives it alone (STAMP, 862 or 8620).
	Packets func(ctx context.Context, pc net.PacketConn) error
	// Streams answer on the plain TCP port, by the preamble of PreambleSize bytes that the reflector has already read.
	Streams map[string]func(ctx context.Context, c net.Conn) error
	// QUIC answers on the QUIC port, by ALPN protocol. The connection may still be in its handshake (0-RTT).
	QUIC map[string]func(ctx context.Context, c *quic.Conn) error
	// HTTP answers on the TLS port (HTTP/1.1 and HTTP/2) and on the QUIC port (HTTP/3), by ServeMux pattern.
	HTTP map[string]http.Handler
}

// Ports are the reflector's default ports.
const (
	STAMPPort       = 8620 // UDP; besides 862, RFC 8762, where the process may open it
	StreamPort      = 8620 // TCP
	TLSPort         = 8443 // TCP and UDP
	StampWellKnown  = 862
	ALPNPerf        = "perf"      // draft-banks-quic-performance
	ALPNEcho        = "nrprobe/1" // our own: datagram echo, stream echo
	PreambleEcho    = "nrpECHO1"  // echoes every byte
	PreambleGoodput = "nrpLOAD1"  // throughput sessions
)
