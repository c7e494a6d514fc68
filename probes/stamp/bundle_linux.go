package stamp

import (
	"bytes"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// longestBundled is the longest reply that is bundled: what fits into an Ethernet frame whatever the version of IP. The
// kernel does not fragment the parts of a bundle.
const longestBundled = 1500 - 40 - 8

// maxBundle is how many octets a bundle may have: less than an IP packet with its headers.
const maxBundle = 65000

// bundles are rows of replies in a batch that differ in nothing but their octets, so that the kernel can take each row
// through its layers as one and cut it up at the end (UDP_SEGMENT, Linux 4.18). Each reply is a packet of its own all the
// same. It is not safe for concurrent use.
type bundles struct {
	longest int // the longest reply that is bundled; 0 where the kernel cannot
	headers []mmsghdr
	iovs    []unix.Iovec // of the batch's messages, by their index
	rows    []row
	next    int // the first row that is not sent yet, as far as it is known
}

// row is one bundle: the replies [first, end) of the batch to that peer.
type row struct {
	first, end int
	peer       netip.AddrPort
	apart      bool // the kernel refused it as a bundle
}

func newBundles(raw syscall.RawConn, count int) *bundles {
	b := &bundles{headers: make([]mmsghdr, count), iovs: make([]unix.Iovec, count), rows: make([]row, 0, count)}
	err := raw.Control(func(fd uintptr) {
		// An older kernel would take a bundle for one long packet.
		if _, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT); err == nil {
			b.longest = longestBundled
		}
	})
	if err != nil {
		b.longest = 0
	}
	return b
}

// clear forgets what was bundled.
func (b *bundles) clear() { b.rows, b.next = b.rows[:0], 0 }

// add takes up message i, which is ready to be sent and stands behind the one added before.
func (b *bundles) add(of *batch, i int, peer netip.AddrPort) {
	b.iovs[i] = of.messages[i].iov
	if last := len(b.rows) - 1; last >= 0 && b.fits(of, &b.rows[last], i, peer) {
		b.rows[last].end++
		return
	}
	b.rows = append(b.rows, row{first: i, end: i + 1, peer: peer})
}

// fits says whether message i can go with those of the row.
func (b *bundles) fits(of *batch, r *row, i int, peer netip.AddrPort) bool {
	size := int(b.iovs[i].Len)
	return r.peer == peer && int(b.iovs[r.first].Len) == size && size <= b.longest && (r.end-r.first+1)*size <= maxBundle &&
		bytes.Equal(of.outgoingControl(r.first), of.outgoingControl(i))
}

// seal makes all that was added ready to be sent.
func (b *bundles) seal(of *batch) {
	for k, r := range b.rows {
		h := of.headers[r.first].hdr
		h.Iov = &b.iovs[r.first]
		h.SetIovlen(r.end - r.first)
		if r.end-r.first > 1 {
			// The message's own header goes without what is added here, should it have to be sent apart.
			c := control{room: of.outgoingControl(r.first)}
			c.segment(int(b.iovs[r.first].Len))
			h.Control = &of.messages[r.first].control[0]
			h.SetControllen(len(c.room))
		}
		b.headers[k].hdr = h
	}
}

// send hands the messages from that one on to the kernel and returns how many it took, without waiting. The error is
// that of the first one that it did not take.
func (b *bundles) send(fd uintptr, of *batch, from int) (n int, err syscall.Errno) {
	for b.rows[b.next].end <= from {
		b.next++
	}
	r := &b.rows[b.next]
	if r.apart {
		return of.send(fd, from, r.end)
	}
	taken, err := callBatch(unix.SYS_SENDMMSG, fd, b.headers[b.next:len(b.rows)], unix.MSG_DONTWAIT)
	for _, done := range b.rows[b.next : b.next+taken] {
		n += done.end - done.first
	}
	if err == 0 || err == unix.EAGAIN || r.end-r.first == 1 {
		return n, err
	}
	// The way to this peer may not carry packets of this size unfragmented, or its interface takes no bundles.
	if err == unix.EINVAL || err == unix.EMSGSIZE || err == unix.EIO {
		b.longest = min(b.longest, int(b.iovs[r.first].Len)-1)
	}
	r.apart = true
	return of.send(fd, from, r.end)
}
