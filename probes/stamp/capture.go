package stamp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// capture writes every packet sent and received into a file that Wireshark opens, with the session's own time stamps: the
// kernel's where there are any. A socket sees neither IP nor UDP headers, so they are made up of what is known: addresses,
// ports, and marking and TTL of what was received. It is safe for concurrent use.
//
// The goroutines that send and receive only leave their packets; flush, which may wait for a disk, is for another one.
type capture struct {
	file   *os.File
	buffer *bufio.Writer

	mu            sync.Mutex
	local, remote netip.AddrPort
	tos           uint8 // of what is sent
	waiting       []captured
	size          int // of those waiting, in bytes
	omitted       int // packets that found no room
	block         []byte
}

// captured is a packet that is not written yet.
type captured struct {
	at       int64 // nanoseconds since 1970
	packet   []byte
	from, to netip.AddrPort
	seq      uint32 // of one that was sent
	sent     bool
	process  bool // the process took the time, not the kernel
	tos, ttl uint8
}

const (
	// captureSuffix tells a capture from a table.
	captureSuffix = ".pcapng"
	// captureHold is how long packets wait, so that the kernel's stamp of a departure finds them and they can be put in
	// order.
	captureHold = time.Second
	// captureRoom bounds what waits when a disk is too slow.
	captureRoom = 16 << 20
	// commonTTL stands for that of packets sent, which the system decides and does not tell: most begin with 64.
	commonTTL = 64
)

// openCapture begins a new file, or returns nil when none is wanted.
func openCapture(c *Config) (*capture, error) {
	if !strings.HasSuffix(c.Trace, captureSuffix) {
		return nil, nil
	}
	file, err := os.Create(c.Trace)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	p := &capture{file: file, buffer: bufio.NewWriterSize(file, 1<<16), tos: c.tos()}
	_, _ = p.buffer.Write(captureHeader()) // an error stays until close, which tells it
	return p, nil
}

// ends says between which addresses packets go from now on.
func (p *capture) ends(local, remote netip.AddrPort) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.local, p.remote = netip.AddrPortFrom(local.Addr().Unmap().WithZone(""), local.Port()), netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port())
}

// sent leaves a packet that is about to be sent.
func (p *capture) sent(at int64, packet []byte) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(captured{at: at, packet: packet, from: p.local, to: p.remote, seq: binary.BigEndian.Uint32(packet), sent: true, process: true, tos: p.tos, ttl: commonTTL})
}

// received leaves a packet that came in.
func (p *capture) received(at int64, a *arrived) {
	if p == nil {
		return
	}
	c := captured{at: at, packet: a.packet, process: !a.kernel, tos: uint8(max(0, a.tos)), ttl: a.ttl}
	if c.ttl == 0 {
		c.ttl = commonTTL
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.from, c.to = p.remote, p.local
	p.leaveLocked(c)
}

func (p *capture) leaveLocked(c captured) {
	if p.size+len(c.packet) > captureRoom || c.from.Addr().Is4() != c.to.Addr().Is4() {
		p.omitted++
		return
	}
	c.packet = slices.Clone(c.packet)
	p.size += len(c.packet)
	p.waiting = append(p.waiting, c)
}

// refused takes the packet back that was left last to be sent.
func (p *capture) refused() {
	p.change(func(i int) {
		p.size -= len(p.waiting[i].packet)
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}, func(c *captured) bool { return c.sent })
}

// departed says when the kernel sent a packet.
func (p *capture) departed(seq uint32, at int64) {
	p.change(func(i int) { p.waiting[i].at, p.waiting[i].process = at, false }, func(c *captured) bool { return c.sent && c.seq == seq })
}

// change does something to the latest packet that fits.
func (p *capture) change(do func(i int), fits func(*captured) bool) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range slices.Backward(p.waiting) {
		if fits(&p.waiting[i]) {
			do(i)
			return
		}
	}
}

// flush writes the packets from before that time, in its order. An error stays until close, which tells it.
func (p *capture) flush(before int64) {
	if p == nil {
		return
	}
	for _, c := range p.take(before) {
		p.block = appendPacketBlock(p.block[:0], &c)
		_, _ = p.buffer.Write(p.block)
	}
}

// take removes the packets from before that time.
func (p *capture) take(before int64) []captured {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortStableFunc(p.waiting, func(a, b captured) int { return int(min(max(a.at-b.at, -1), 1)) })
	n := 0
	for n < len(p.waiting) && p.waiting[n].at < before {
		p.size -= len(p.waiting[n].packet)
		n++
	}
	list := slices.Clone(p.waiting[:n])
	p.waiting = slices.Delete(p.waiting, 0, n)
	return list
}

// close writes what is left and returns the first error that there was.
func (p *capture) close() error {
	if p == nil {
		return nil
	}
	p.flush(1<<63 - 1)
	err := errors.Join(p.buffer.Flush(), p.file.Close())
	if err == nil && p.omitted > 0 {
		err = fmt.Errorf("%d packets are missing in %s: the disk was too slow", p.omitted, p.file.Name())
	}
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}
