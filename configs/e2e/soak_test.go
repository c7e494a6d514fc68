//go:build bench

package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// soakBound is by how much the peak of the reflector's memory may grow from the second third of the time to the last one:
// in ten minutes, half a byte for each packet between.
const soakBound = 6 << 20

// TestSoak sends a reflector what no honest sender would, from sources of which most are forged, for as long as the
// variable SOAK says. It holds each answer against what its receiver is thought to have sent, and the reflector's memory
// in the last third of the time against that in the second. In the first it fills its table of sessions, and the garbage
// collector finds out how much room it needs for what is thrown away between two collections.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil || length < 10*time.Second {
		t.Fatalf("SOAK=%q: want a duration of 10s or more", os.Getenv("SOAK"))
	}
	if os.Geteuid() != 0 {
		t.Skip("forging source addresses in network namespaces of one's own needs root")
	}
	l := newLink(t)
	forged := netip.MustParsePrefix("10.78.0.0/16")
	command(t, "ip", "-n", l.near, "route", "add", "local", forged.String(), "dev", "lo")
	command(t, "ip", "-n", l.far, "route", "add", forged.String(), "via", "10.77.0.1")
	key := filepath.Join(t.TempDir(), "stamp.key")
	if err := os.WriteFile(key, []byte(soakKey), 0o600); err != nil {
		t.Fatal(err)
	}
	var reflectors []*daemon
	for _, flags := range [][]string{{"--data", t.TempDir()}, {"--stamp", ":9000", "--stamp-key-file", key, "--streams=off", "--tls=off", "--quic=off"}} {
		d := start(t, in(l.far, append([]string{program(t), "reflector"}, flags...)...)...)
		d.waitFor(t, "ready", 20*time.Second)
		reflectors = append(reflectors, d)
	}
	a := newAttack(t, l.near, forged)
	var peaks [3][]float64
	for i := range peaks {
		peaks[i] = a.during(t, reflectors, length/3)
	}
	sent, answered, bytesOut, bytesIn, missed := a.total(t)
	fmt.Printf("\n%d packets with %d bytes from %d sources in %v: %d answers with %d bytes; %d answers were not seen here\n",
		sent, bytesOut, len(a.sources), length, answered, bytesIn, missed)
	for i, name := range []string{"open", "keyed"} {
		first, second, last := peaks[0][i]/(1<<20), peaks[1][i]/(1<<20), peaks[2][i]/(1<<20)
		fmt.Printf("most memory of the %s reflector in each third of the time: %.1f, %.1f and %.1f MiB\n", name, first, second, last)
		if peaks[2][i] > peaks[1][i]+soakBound {
			t.Errorf("memory of the %s reflector grew from %.1f to %.1f MiB", name, second, last)
		}
	}
	if answered == 0 || sent < uint64(length.Seconds())*1000 {
		t.Errorf("%d packets and %d answers are too few to tell", sent, answered)
	}
	if excess := a.excess.Load(); excess != nil {
		t.Errorf("more was answered than asked: %s", *excess)
	}
	for _, honest := range [][]string{{"10.77.0.2"}, {"10.77.0.2:9000", "--key-file", key}} {
		stdout, stderr, code := run(t, in(l.near, append([]string{program(t), "probe", "stamp", "--count", "50", "--json"}, honest...)...)...)
		if v := result(t, stdout).Values; code != 0 || v["packets_lost"] != 0 || v["packets_received"] == 0 {
			t.Errorf("an honest probe of %s after all that: exit code %d, %v lost, %v received\n%s", honest[0], code, v["packets_lost"], v["packets_received"], stderr)
		}
	}
}

// attack is many sources and what they got.
type attack struct {
	sources []source
	index   map[netip.AddrPort]int
	raw     int // socket that sends IP packets as they are
	sniffer int // socket that sees what comes in
	random  *rand.Rand
	recent  [256][]byte // packets to send again
	packet  []byte

	packets, answers atomic.Uint64
	excess           atomic.Pointer[string]
}

// source is an address and port, forged or not, and the UDP payload that went and came.
type source struct {
	at       netip.AddrPort
	sent     atomic.Int64
	received atomic.Int64
}

const soakKey = "fourteen and two"

// soakSources is more than a reflector remembers.
const soakSources = 20000

func newAttack(t *testing.T, ns string, forged netip.Prefix) *attack {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	a := &attack{sources: make([]source, soakSources), index: map[netip.AddrPort]int{}, random: rand.New(rand.NewPCG(seed, 1))}
	base := forged.Addr().As4()
	for i := 0; i < len(a.sources); i = len(a.index) {
		binary.BigEndian.PutUint16(base[2:], uint16(a.random.Uint32()))
		at := netip.AddrPortFrom(netip.AddrFrom4(base), uint16(1024+a.random.IntN(60000)))
		if _, taken := a.index[at]; !taken {
			a.sources[i].at, a.index[at] = at, i
		}
	}
	within(t, ns, func() error {
		var err error
		if a.raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW); err != nil {
			return err
		}
		link, err := net.InterfaceByName("wwan0")
		if err != nil {
			return err
		}
		const ipv4 = 0x0008 // ETH_P_IP in network order
		if a.sniffer, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, ipv4); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(a.sniffer, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		if err := unix.SetsockoptTimeval(a.sniffer, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			return err
		}
		return unix.Bind(a.sniffer, &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: link.Index})
	})
	t.Cleanup(func() { _ = unix.Close(a.raw); _ = unix.Close(a.sniffer) })
	return a
}

// within runs f in a network namespace. Sockets that it opens stay there.
func within(t *testing.T, ns string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		file, err := os.Open("/var/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			_ = file.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in %s: %v", ns, err)
	}
}

// during attacks for so long and returns the most memory that each of the processes was seen to have, once a second.
func (a *attack) during(t *testing.T, reflectors []*daemon, length time.Duration) (peaks []float64) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	listening, deaf := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() { a.listen(listening) })
	peaks = make([]float64, len(reflectors))
	for look := time.Now(); ctx.Err() == nil; {
		for range 64 {
			a.send()
		}
		if time.Now().Before(look) {
			continue
		}
		look = look.Add(time.Second)
		for i, d := range reflectors {
			peaks[i] = max(peaks[i], memory(t, d.cmd.Process.Pid, "VmRSS"))
		}
	}
	time.Sleep(200 * time.Millisecond) // for the last answers
	deaf()
	both.Wait()
	return peaks
}

// send sends one packet from one of the sources.
func (a *attack) send() {
	s := &a.sources[a.random.IntN(len(a.sources))]
	port, base := uint16(8620), 44
	switch a.random.IntN(10) {
	case 0:
		port = 8443 // QUIC, where nothing of this can begin a handshake
	case 1, 2, 3:
		port, base = 9000, 112
	}
	payload := a.payload(base)
	a.packet = ipPacket(a.packet[:0], s.at, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 0, 2}), port), payload)
	s.sent.Add(int64(len(payload)))
	if unix.Sendto(a.raw, a.packet, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 77, 0, 2}}) == nil {
		a.packets.Add(1)
	}
}

// payload makes up a packet: noise, requests with sound and unsound extensions, cut off, altered, or sent before. Those of
// the authenticated layout are signed as often as not.
func (a *attack) payload(base int) []byte {
	r := a.random
	slot := &a.recent[r.IntN(len(a.recent))]
	switch kind := r.IntN(8); {
	case kind == 0 && len(*slot) > 0:
		return *slot
	case kind == 1:
		*slot = a.noise(r.IntN(1473))
		return *slot
	}
	b := make([]byte, base)
	if copy(b, a.noise(16)); base == 112 {
		copy(b[4:], make([]byte, 12))
		copy(b[16:], a.noise(12))
	}
	if base == 112 && r.IntN(2) == 0 {
		code := hmac.New(sha256.New, []byte(soakKey))
		code.Write(b[:96])
		copy(b[96:], code.Sum(nil))
	}
	for len(b) < 1400 && r.IntN(6) > 0 {
		value := a.noise(r.IntN(40))
		stated := len(value)
		if r.IntN(8) == 0 {
			stated = int(uint16(r.Uint32()))
		}
		kind := r.IntN(14)
		if r.IntN(8) == 0 {
			kind = r.IntN(256)
		}
		b = append(b, 0x80, byte(kind))
		b = binary.BigEndian.AppendUint16(b, uint16(stated))
		b = append(b, value...)
	}
	switch r.IntN(4) {
	case 0:
		b = b[:r.IntN(len(b)+1)]
	case 1:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	*slot = b
	return b
}

func (a *attack) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(a.random.Uint32())
	}
	return b
}

// ipPacket appends a UDP datagram over IPv4. The kernel fills in length and checksum of the IP header, and UDP over IPv4
// may go without one (RFC 768).
func ipPacket(b []byte, from, to netip.AddrPort, payload []byte) []byte {
	b = append(b, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0)
	b = append(b, from.Addr().AsSlice()...)
	b = append(b, to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(b, 0, 0)
	return append(b, payload...)
}

// listen counts what comes back to each source, and takes down the first that got more than it sent. A row of answers may
// come as one long packet.
func (a *attack) listen(ctx context.Context) {
	b := make([]byte, 1<<17)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(a.sniffer, b, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		header := int(b[0]&15) * 4
		if !ok || link.Pkttype == unix.PACKET_OUTGOING || n < header+8 || b[9] != unix.IPPROTO_UDP {
			continue
		}
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(b[header+2:]))
		i, known := a.index[to]
		if !known {
			continue
		}
		a.answers.Add(1)
		s := &a.sources[i]
		if got, sent := s.received.Add(int64(n-header-8)), s.sent.Load(); got > sent {
			a.excess.CompareAndSwap(nil, new(fmt.Sprintf("%s sent %d bytes and got %d", s.at, sent, got)))
		}
	}
}

// total sums up. missed is how many packets the sniffer lost.
func (a *attack) total(t *testing.T) (packets, answers uint64, out, in int64, missed uint32) {
	t.Helper()
	stats, err := unix.GetsockoptTpacketStats(a.sniffer, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.sources {
		out += a.sources[i].sent.Load()
		in += a.sources[i].received.Load()
	}
	return a.packets.Load(), a.answers.Load(), out, in, stats.Drops
}

func command(t *testing.T, argv ...string) {
	t.Helper()
	if _, stderr, code := run(t, argv...); code != 0 {
		t.Fatalf("%v: %s", argv, stderr)
	}
}
