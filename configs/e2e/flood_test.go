//go:build bench

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// part is what a process of its own does beside a benchmark: this very test binary, started again.
type part struct {
	Role   string // "echo", "flood" or "sessions"
	Listen string
	// Target is flooded for so long with requests of so many bytes: what Client sends there, or zeros without one.
	Target  string
	For     time.Duration
	Size    int
	Client  []string // run with the address of a port in front of the target as its last argument
	Opens   bool     // the client's first exchange opens a session at the target, and the second packet is a request
	Counter counter
	Count   int           // sessions; of a flood, how many take turns packet by packet, 0 for one that sends rows
	Every   time.Duration // between two packets of a session
}

// counter is the sequence number of a request.
type counter struct {
	At     int // in the packet
	Little bool
}

// heard is what came back.
type heard struct {
	Sent, Replies, Bytes uint64
	// Wrong counts replies whose own sequence number is not that of the reflector's count for this session.
	Wrong   uint64
	Elapsed time.Duration
}

const partVariable = "NRPROBE_E2E_PART"

// command is the command line that plays the part on one core; it runs in a namespace.
func (p part) command(t *testing.T, ns, core string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	argv := in(ns, alone(core, os.Args[0], "-test.run", "^TestPart$", "-test.v")...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), partVariable+"="+string(text))
	return cmd
}

// play plays the part to its end.
func (p part) play(t *testing.T, ns, core string) heard {
	t.Helper()
	out, err := p.command(t, ns, core).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", p.Role, err, out)
	}
	for line := range strings.Lines(string(out)) {
		var h heard
		if json.Unmarshal([]byte(line), &h) == nil {
			return h
		}
	}
	t.Fatalf("%s said nothing:\n%s", p.Role, out)
	return heard{}
}

// TestPart is no test: it is how this binary plays a part in another one.
func TestPart(t *testing.T) {
	var p part
	text := os.Getenv(partVariable)
	if text == "" {
		t.Skip("started by the benchmarks")
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	var h heard
	var err error
	switch p.Role {
	case "echo":
		err = p.echo()
	case "flood":
		h, err = p.flood(t.Context())
	case "sessions":
		h, err = p.sessions()
	}
	if err != nil {
		t.Fatal(err)
	}
	said, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\n%s\n", said)
}

// echo sends back what comes, as one would write it with package net.
func (p part) echo() error {
	address, err := net.ResolveUDPAddr("udp", p.Listen)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("ready")
	for b := make([]byte, 9000); ; {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		_, _ = conn.WriteToUDPAddrPort(b[:n], from)
	}
}

// burst is how many requests a flood hands to the kernel at once.
const burst = 32

// flood sends as fast as it can. It takes only some of the replies off the socket, so that it can send more; the kernel
// counts those that arrive while the socket is full.
func (p part) flood(ctx context.Context) (heard, error) {
	conn, err := net.Dial("udp", p.Target)
	if err != nil {
		return heard{}, err
	}
	defer conn.Close()
	request, err := p.request(ctx, conn)
	if err != nil {
		return heard{}, err
	}
	if p.Count > 0 {
		return p.sprinkle(request)
	}
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return heard{}, err
	}
	var h heard
	err = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, len(request)); err == nil {
			p.pour(int(fd), request, &h)
		}
	})
	return h, err
}

func (p part) pour(fd int, request []byte, h *heard) {
	room := make([]byte, burst*len(request))
	for i := range burst {
		copy(room[i*len(request):], request)
	}
	var order binary.ByteOrder = binary.BigEndian
	if p.Counter.Little {
		order = binary.LittleEndian
	}
	reply := make([]byte, len(request))
	began := time.Now()
	for deadline := began.Add(p.For); time.Now().Before(deadline); {
		for i := range burst {
			order.PutUint32(room[i*len(request)+p.Counter.At:], uint32(h.Sent)+uint32(i))
		}
		if n, _ := unix.Write(fd, room); n == len(room) {
			h.Sent += burst
		}
		for range burst / 8 {
			n, err := unix.Read(fd, reply)
			if err != nil || n <= 0 {
				break
			}
			h.Replies++
			h.Bytes += uint64(n)
		}
	}
	h.Elapsed = time.Since(began)
}

// sprinkle floods from many sockets, so that no two requests in a row come from the same.
func (p part) sprinkle(request []byte) (heard, error) {
	var h heard
	list, err := p.sockets()
	if err != nil {
		return h, err
	}
	reply := make([]byte, len(request))
	began := time.Now()
	for deadline := began.Add(p.For); time.Now().Before(deadline); {
		for i := range list {
			binary.BigEndian.PutUint32(request[p.Counter.At:], list[i].sent)
			if n, _ := unix.Write(list[i].fd, request); n == len(request) {
				list[i].sent++
				h.Sent++
			}
		}
		n, err := unix.Read(list[h.Sent/uint64(len(list))%uint64(len(list))].fd, reply)
		if err == nil && n > 0 {
			h.Replies++
			h.Bytes += uint64(n)
		}
	}
	h.Elapsed = time.Since(began)
	return h, nil
}

// sockets opens so many towards the target.
func (p part) sockets() ([]session, error) {
	limit := &unix.Rlimit{Cur: uint64(p.Count) + 100, Max: uint64(p.Count) + 100}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, limit); err != nil {
		return nil, err
	}
	address, err := netip.ParseAddrPort(p.Target)
	if err != nil {
		return nil, err
	}
	list := make([]session, p.Count)
	for i := range list {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
			return nil, err
		}
		list[i].fd = fd
	}
	return list, nil
}

// request is one request as the program sends it that the target is made for.
func (p part) request(ctx context.Context, conn net.Conn) ([]byte, error) {
	if len(p.Client) == 0 {
		return make([]byte, p.Size), nil
	}
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer front.Close()
	client := exec.CommandContext(ctx, p.Client[0], append(p.Client[1:], front.LocalAddr().String())...)
	if err := client.Start(); err != nil {
		return nil, err
	}
	defer func() { _ = client.Process.Kill(); _ = client.Wait() }()
	limit := time.Now().Add(10 * time.Second)
	if err := front.SetDeadline(limit); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(limit); err != nil {
		return nil, err
	}
	b := make([]byte, 9000)
	n, from, err := front.ReadFrom(b)
	if err != nil || !p.Opens {
		return b[:n], err
	}
	if _, err := conn.Write(b[:n]); err != nil {
		return nil, err
	}
	if n, err = conn.Read(b); err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	if _, err := front.WriteTo(b[:n], from); err != nil {
		return nil, err
	}
	n, _, err = front.ReadFrom(b)
	return b[:n], err
}

// sessions keeps so many sockets, each of which sends a packet of its own session at its time, evenly spread.
func (p part) sessions() (heard, error) {
	var h heard
	list, err := p.sockets()
	if err != nil {
		return h, err
	}
	request := make([]byte, p.Size)
	began := time.Now()
	for n := 0; time.Since(began) < p.For; n++ {
		due := time.Duration(n) * p.Every / time.Duration(p.Count)
		for time.Since(began) < due {
			time.Sleep(due - time.Since(began))
		}
		s := &list[n%p.Count]
		s.listen(&h)
		binary.BigEndian.PutUint32(request, s.sent)
		binary.BigEndian.PutUint64(request[4:], 1)                        // T1, which the reflector repeats
		binary.BigEndian.PutUint16(request[14:], uint16(n%p.Count%60000)) // session identifier
		if k, _ := unix.Write(s.fd, request); k == len(request) {
			s.sent++
			h.Sent++
		}
	}
	h.Elapsed = time.Since(began)
	time.Sleep(100 * time.Millisecond)
	for i := range list {
		list[i].listen(&h)
	}
	return h, nil
}

// session is one sender of STAMP packets.
type session struct {
	fd             int
	sent, answered uint32
}

// listen takes replies off the socket.
func (s *session) listen(h *heard) {
	var b [1500]byte
	for {
		n, err := unix.Read(s.fd, b[:])
		if err != nil || n <= 0 {
			return
		}
		h.Replies++
		h.Bytes += uint64(n)
		if binary.BigEndian.Uint32(b[:]) != s.answered {
			h.Wrong++
		}
		s.answered++
	}
}
