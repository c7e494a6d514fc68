package stamp

import (
	"net"
	"time"
)

// link is the sender's socket, connected to the reflector. One goroutine transmits while another receives.
type link interface {
	// transmit hands a packet to the kernel. An error means that it did not leave.
	transmit(packet []byte) error
	// receive blocks until a packet is there and says when it came. A departure that becomes known meanwhile is
	// given to the function that the link was made with.
	receive(buffer []byte) (n int, at time.Duration, err error)
	// stop makes a receive that blocks, and every later one, return an error.
	stop()
	// stamps says from where T1 and T4 are taken.
	stamps() (t1, t4 string)
	close() error
}

// stampsUser is how notes call stamps taken by the process itself.
const stampsUser = "user"

// plainLink works with any connection, with time stamps from user space.
type plainLink struct {
	conn  net.Conn
	clock sessionClock
}

func (l *plainLink) transmit(packet []byte) error {
	_, err := l.conn.Write(packet)
	return err
}

func (l *plainLink) receive(buffer []byte) (n int, at time.Duration, err error) {
	n, err = l.conn.Read(buffer)
	return n, l.clock.now(), err
}

// stop's deadline fails only on a closed socket, where receiving has ended already.
func (l *plainLink) stop() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) }

func (l *plainLink) stamps() (t1, t4 string) { return stampsUser, stampsUser }

func (l *plainLink) close() error { return l.conn.Close() }
