// Package farend is the seam between the kinds of probes that need a far end of their own and the reflector that serves
// all of them on a few ports. A kind describes what it answers as a Service; package reflector opens the sockets, keeps
// the limits and hands over what arrives.
package farend

import (
	"context"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes"
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
	// PacketsAs is Packets as the reflector's configuration wants it; nil where there is nothing to choose.
	PacketsAs func(STAMP) func(ctx context.Context, pc net.PacketConn) error
	// Streams answer on the plain TCP port, by the preamble of PreambleSize bytes that the reflector has already read.
	Streams map[string]func(ctx context.Context, c net.Conn) error
	// QUIC answers on the QUIC port, by ALPN protocol. The connection may still be in its handshake (0-RTT).
	QUIC map[string]func(ctx context.Context, c *quic.Conn) error
	// HTTP answers on the TLS port (HTTP/1.1 and HTTP/2) and on the QUIC port (HTTP/3), by ServeMux pattern.
	HTTP map[string]http.Handler
	// Own opens a server whose protocol needs ports of its own, for the key of the reflector's configuration that has the
	// service's name and lists addresses. The context bounds the opening alone.
	Own func(ctx context.Context, network probes.Network, address string) (Server, error)
}

// STAMP is what the reflector's configuration says of the port that Packets answers on. The zero value answers all comers.
type STAMP struct {
	// Key is the secret of the authenticated mode (RFC 8762 section 4.4), MinKey bytes or more; empty for the unauthenticated
	// mode.
	Key []byte
	// Stateless keeps no count of what each sender sent.
	Stateless bool
}

// MinKey is the shortest secret of STAMP's authenticated mode, in bytes: as many as its codes have.
const MinKey = 16

// Server answers on ports of its own, which are open when it is handed over. It keeps limits of its own.
type Server interface {
	// Addr is where it listens.
	Addr() net.Addr
	// Run serves until ctx ends, closes the ports and returns when every goroutine it started has ended. It is called once
	// at most. The error tells of a port that failed before.
	Run(ctx context.Context) error
	// Close closes the ports, of a server that was not run, too. It may be called again.
	Close() error
}

// Ports are the reflector's default ports.
const (
	STAMPPort       = 8620 // UDP; besides 862, RFC 8762, where the process may open it
	StreamPort      = 8620 // TCP
	TLSPort         = 8443 // TCP and UDP
	StampWellKnown  = 862
	Iperf3Port      = 5201        // TCP and UDP; closed unless it is asked for
	ALPNPerf        = "perf"      // draft-banks-quic-performance
	ALPNEcho        = "nrprobe/1" // our own: datagram echo, stream echo
	PreambleEcho    = "nrpECHO1"  // echoes every byte
	PreambleGoodput = "nrpLOAD1"  // throughput sessions
	PreambleLease   = "nrpLEAS1"  // leases for load tests
)
