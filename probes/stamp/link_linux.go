package stamp

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openLink takes the connection over: with stamps of the kernel on a socket of the kernel, and with stamps from user
// space, as every result then says, otherwise.
func openLink(conn net.Conn, clock *sessionClock, l *ledger, log *slog.Logger) link {
	raw, err := rawConn(conn)
	if err == nil {
		err = setStamps(raw, stampArrivals|stampDepartures|nameDepartures)
	}
	if err == nil {
		err = askForHeader(raw)
	}
	if err != nil {
		log.Debug("packets are stamped in user space", "reason", err.Error())
		return newPlainLink(conn, clock)
	}
	return newKernelLink(conn, raw, clock, l)
}

// newWaiter returns how to wait for the time of a packet on that connection. An emulated one has a time of its own,
// which the kernel does not know.
func newWaiter(conn net.Conn, clock *sessionClock, interval time.Duration, log *slog.Logger) waiter {
	if _, err := rawConn(conn); err != nil {
		return newTimerWaiter(clock)
	}
	return newHostWaiter(clock, interval, log)
}

// linkBatch is how many packets are taken from the socket at once: more than arrive together unless the process did not
// run for a while.
const linkBatch = 16

// kernelLink takes T1 and T4 from the kernel.
type kernelLink struct {
	conn   net.Conn
	raw    syscall.RawConn
	clock  *sessionClock
	ledger *ledger

	// The transmitting goroutine's.
	outgoing []byte
	refused  error
	write    func(fd uintptr)

	// Departures are named by the number of packets sent; names says which sequence number each one had.
	names [departureNames]atomic.Uint32
	asked atomic.Uint32

	// The receiving goroutine's.
	packets *batch
	events  *batch // from the error queue
	got     int
	next    int
	failed  error
	read    func(fd uintptr) bool
}

func newKernelLink(conn net.Conn, raw syscall.RawConn, clock *sessionClock, l *ledger) *kernelLink {
	k := &kernelLink{
		conn: conn, raw: raw, clock: clock, ledger: l,
		packets: newBatch(linkBatch, maxPacketSize), events: newBatch(linkBatch, 1),
	}
	k.write, k.read = k.tryWrite, k.tryRead
	return k
}

func (k *kernelLink) transmit(packet []byte) error {
	k.outgoing = packet
	asked := k.asked.Load()
	k.names[asked%departureNames].Store(binary.BigEndian.Uint32(packet))
	if err := k.raw.Control(k.write); err != nil {
		return err
	}
	if k.refused == nil {
		k.asked.Store(asked + 1)
		return nil
	}
	// The kernel may or may not have counted this packet among those to be stamped, so their names begin anew. A stamp
	// still on its way is then older than the packet it is taken for, and the ledger refuses it.
	err := setStamps(k.raw, stampArrivals|stampDepartures)
	if err == nil {
		err = setStamps(k.raw, stampArrivals|stampDepartures|nameDepartures)
	}
	k.asked.Store(0)
	if err != nil {
		return fmt.Errorf("%w, then %w", k.refused, err)
	}
	return k.refused
}

// tryWrite never waits: a packet that has to wait in this process is late already.
func (k *kernelLink) tryWrite(fd uintptr) {
	_, err := unix.Write(int(fd), k.outgoing)
	for err == unix.EINTR {
		_, err = unix.Write(int(fd), k.outgoing)
	}
	k.refused = os.NewSyscallError("send", err)
}

func (k *kernelLink) receive() (arrived, error) {
	if k.next == k.got {
		k.next, k.got, k.failed = 0, 0, nil
		if err := k.raw.Read(k.read); err != nil {
			return arrived{}, err
		}
		if k.failed != nil {
			return arrived{}, k.failed
		}
	}
	i := k.next
	k.next++
	now := k.clock.now()
	a := arrived{packet: k.packets.messages[i].payload[:k.packets.size(i)], at: now, seen: now}
	header := k.packets.ancillary(i)
	a.tos, a.ttl = header.tos, header.ttl
	if at, ok := k.session(header.stamp, now); ok {
		a.at, a.kernel = at, true
	}
	return a, nil
}

// session turns a stamp of the kernel into session time. ok is false when there is none, or when it cannot be right,
// because the wall clock was set: it must lie in the past, not longer ago than the process could have been kept waiting.
func (k *kernelLink) session(stamp int64, now time.Duration) (at time.Duration, ok bool) {
	const recent = time.Minute
	at = time.Duration(stamp - k.clock.epoch())
	return at, stamp != 0 && at > now-recent && at <= now+clockStep
}

// tryRead is false when no packet is there yet. Departures are looked at behind the packets, because when a reply is
// there the departure of its request is, too.
func (k *kernelLink) tryRead(fd uintptr) bool {
	n, errno := k.packets.receive(fd, 0)
	k.takeDepartures(fd)
	switch errno {
	case 0:
		k.got = n
	case unix.EAGAIN:
		return false
	default:
		k.failed = os.NewSyscallError("recvmmsg", errno)
	}
	return true
}

func (k *kernelLink) takeDepartures(fd uintptr) {
	for {
		n, errno := k.events.receive(fd, unix.MSG_ERRQUEUE)
		if errno != 0 {
			return
		}
		now := k.clock.now()
		for i := range n {
			a := k.events.ancillary(i)
			if at, ok := k.session(a.stamp, now); ok && a.isID && k.asked.Load()-a.id <= departureNames {
				k.ledger.correct(k.names[a.id%departureNames].Load(), at)
			}
		}
		if n < linkBatch {
			return
		}
	}
}

// stop's deadline fails only on a closed socket, where receiving has ended already.
func (k *kernelLink) stop() { _ = k.conn.SetReadDeadline(time.Unix(1, 0)) }

func (k *kernelLink) close() error { return k.conn.Close() }
