package stamp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestCaptureHasEachPacket holds all that a capture says of a few packets, and has tshark read it where there is one.
func TestCaptureHasEachPacket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.pcapng")
	var start time.Time
	synctest.Test(t, func(t *testing.T) {
		start = time.Now()
		c := defaults()
		c.Count, c.Trace = 3, file
		r := newPath(lose(constant(15*ms), 1), constant(4*ms)).measure(t.Context(), t, c, &Reflector{})[0]
		value(t, r, "packets_received", 2)
		for _, name := range []string{filepath.Join(file, "impossible.pcapng")} {
			c.Trace = name
			if r := newPath(constant(0), constant(0)).probe(t.Context(), t, c)[0]; !strings.HasPrefix(r.Error, "trace: open ") {
				t.Errorf("%s: %s", r.Outcome, r.Error)
			}
		}
	})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const there, back = "192.0.2.1:40000 > 198.51.100.1:862", "198.51.100.1:862 > 192.0.2.1:40000"
	// Packets of the schedule leave at 2, 12 and 22 ms. The lost one makes the probe send others behind them, until that of
	// an eighth of the timeout is answered.
	want := []string{
		"2ms out " + there + " seq 0", "12ms out " + there + " seq 1", "21ms in " + back + " seq 0",
		"22ms out " + there + " seq 2", "41ms in " + back + " seq 1",
	}
	got := readCapture(t, text, start)
	if len(got) < len(want) {
		t.Fatalf("%d packets: %q", len(got), got)
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	wireshark(t, file, start, len(got))
}

// readCapture takes a capture apart and describes each packet by its time, direction, addresses and number.
func readCapture(t *testing.T, b []byte, start time.Time) (packets []string) {
	t.Helper()
	for len(b) > 0 {
		kind, length := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint32(b[4:]))
		if length%4 != 0 || length > len(b) || binary.LittleEndian.Uint32(b[length-4:]) != uint32(length) {
			t.Fatalf("block of type %#x is %d long, of %d", kind, length, len(b))
		}
		body := b[8 : length-4]
		b = b[length:]
		if kind != blockPacket {
			continue
		}
		at := int64(binary.LittleEndian.Uint32(body[4:]))<<32 | int64(binary.LittleEndian.Uint32(body[8:]))
		size := int(binary.LittleEndian.Uint32(body[12:]))
		packet, options := body[20:20+size], body[20+(size+3)/4*4:]
		way := map[byte]string{flagsInbound: "in", flagsOutbound: "out"}[options[4]]
		address := func(at, port int) string {
			a, _ := netip.AddrFromSlice(packet[at : at+4])
			return netip.AddrPortFrom(a, binary.BigEndian.Uint16(packet[port:])).String()
		}
		packets = append(packets, time.Unix(0, at).Sub(start).String()+" "+way+" "+address(12, 20)+" > "+address(16, 22)+
			" seq "+strconv.Itoa(int(binary.BigEndian.Uint32(packet[28:]))))
	}
	return packets
}

// wireshark has tshark check lengths and checksums, and read the first time.
func wireshark(t *testing.T, file string, start time.Time, packets int) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	args := []string{"-r", file, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-d", "udp.port==862,twamp.test", "-T", "fields"}
	for _, field := range []string{"frame.time_epoch", "ip.checksum.status", "udp.checksum.status", "frame.protocols", "frame.packet_flags_direction", "_ws.malformed"} {
		args = append(args, "-e", field)
	}
	out, err := exec.CommandContext(t.Context(), tshark, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) != packets {
		t.Errorf("tshark reads %d packets, want %d", len(lines), packets)
	}
	for i, line := range lines {
		f := strings.Split(line, "\t")
		if len(f) != 6 || f[1] != "1" || f[2] != "1" || !strings.Contains(f[3], "udp:twamp.test") || f[5] != "" {
			t.Errorf("tshark says of packet %d: %q", i, line)
		}
	}
	if want := strconv.FormatInt(start.Add(lead).Unix(), 10) + ".002000000"; !strings.HasPrefix(lines[0], want) {
		t.Errorf("first packet at %s, want %s", lines[0], want)
	}
}

func TestCaptureOfIPv6(t *testing.T) {
	p := &capture{tos: 46 << 2}
	p.ends(netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:862"))
	p.sent(7, []byte("0123456"))
	p.refused()
	p.sent(5, []byte("0123456"))
	p.departed(binary.BigEndian.Uint32([]byte("0123")), 6)
	p.received(5, &arrived{packet: []byte("abc"), tos: -1, ttl: 9, kernel: true})
	list := p.take(7)
	if len(list) != 2 || list[0].sent || list[1].at != 6 || list[1].process || p.size != 0 {
		t.Fatalf("waiting were %+v", list)
	}
	got := appendDatagram(nil, &list[1])
	if len(got) != 40+8+7 || got[0] != 0x6b || got[1] != 0x80 || got[7] != commonTTL {
		t.Errorf("header % x", got[:48])
	}
	// The sum over pseudo header and datagram is all ones when the checksum is right (RFC 768).
	total := sum(protocolUDP+uint32(len(got)-40), got[8:40])
	if fold(sum(total, got[40:])) != 0xffff {
		t.Errorf("checksum % x", got[46:48])
	}
}

func TestCaptureThatFindsNoRoom(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	p := &capture{file: file}
	p.ends(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
	big := make([]byte, captureRoom/4)
	for range 6 {
		p.sent(0, big)
	}
	if p.omitted != 2 || p.size != captureRoom {
		t.Errorf("%d omitted, %d bytes wait", p.omitted, p.size)
	}
}

// TestFullDiskIsToldAtTheEnd holds that neither kind of file keeps a measurement from being made, and that both are closed.
func TestFullDiskIsToldAtTheEnd(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skipf("no device that is always full: %v", err)
	}
	name := filepath.Join(t.TempDir(), "trace.pcapng")
	if err := os.Symlink(full, name); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	c.Trace = name
	p, err := openCapture(&c)
	if err != nil {
		t.Fatal(err)
	}
	table, err := openTrace(full)
	if err != nil {
		t.Fatal(err)
	}
	for file, err := range map[*os.File]error{p.file: p.close(), table.file: table.close()} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "trace: write ") {
			t.Errorf("%s: %v", file.Name(), err)
		}
		if err := file.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s was left open: %v", file.Name(), err)
		}
	}
}
