package stamp

import (
	"net"
	"time"
)

// link is the sender's socket, connected to the reflector. One goroutine transmits while another receives.
type link interface {
	// transmit hands a packet to the kernel. An error means that it did not leave.
	transmit(packet []byte) error
	// receive blocks until a packet is there. It is valid until the next call. True departures that become known
	// meanwhile go to the ledger that the link was made with.
	receive() (arrived, error)
	// stop makes a receive that blocks, and every later one, return an error.
	stop()
	close() error
}

// arrived is a packet and when it came.
type arrived struct {
	packet []byte
	at     time.Duration // session time
	kernel bool          // at was taken by the kernel
	seen   time.Duration // when the process saw it
	tos    int16         // type of service; -1 when unknown
	ttl    uint8         // 0 when unknown
}

// plainLink works with any connection, with time stamps from user space.
type plainLink struct {
	conn   net.Conn
	clock  *sessionClock
	buffer []byte
}

func newPlainLink(conn net.Conn, clock *sessionClock) *plainLink {
	return &plainLink{conn: conn, clock: clock, buffer: make([]byte, maxPacketSize)}
}

func (l *plainLink) transmit(packet []byte) error {
	_, err := l.conn.Write(packet)
	return err
}

func (l *plainLink) receive() (arrived, error) {
	n, err := l.conn.Read(l.buffer)
	now := l.clock.now()
	return arrived{packet: l.buffer[:n], at: now, seen: now, tos: -1}, err
}

// stop's deadline fails only on a closed socket, where receiving has ended already.
func (l *plainLink) stop() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) }

func (l *plainLink) close() error { return l.conn.Close() }
