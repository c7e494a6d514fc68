package probes

import (
	"context"
	"net/netip"
	"time"
)

// ICMPNetwork is a Network that opens sockets for ICMP echo messages as well (RFC 792, RFC 4443 section 4). Kinds that
// need them ask for it by a type assertion. Its method is safe for concurrent use.
type ICMPNetwork interface {
	Network
	// DialICMP opens a socket that sends to one address. raw says that it is a raw one, which sees the replies to
	// everybody's messages; otherwise the kernel sets the identifier of the messages and hands over their replies alone.
	// An error that neither socket is permitted names both remedies.
	DialICMP(ctx context.Context, to netip.Addr) (c ICMPConn, raw bool, err error)
}

// ICMPConn sends and receives whole ICMP messages, from type to payload, without IP header. One goroutine may read while
// another writes; SetReadDeadline and Close may be called at any time.
type ICMPConn interface {
	// Write sends one message. It does not block for longer than the kernel takes to accept or to refuse it. The kernel
	// completes the checksum of ICMPv6, and that of both versions on sockets that are not raw.
	Write(message []byte) (int, error)
	// Read blocks until a message is there, the read deadline has passed (os.ErrDeadlineExceeded) or the socket is closed.
	// An ICMP error that the kernel hands on is an error too, and the next call goes on behind it.
	Read(b []byte) (ICMPArrival, error)
	// SetReadDeadline sets when Read gives up; the zero time means never.
	SetReadDeadline(t time.Time) error
	// Close ends a Read under way.
	Close() error
}

// ICMPArrival says how a message came in.
type ICMPArrival struct {
	Size int       // of the message, in bytes
	TTL  int       // or hop limit, as it arrived; 0 when the system does not tell
	Time time.Time // with monotonic reading: by the kernel's own stamp where it gives one
}
