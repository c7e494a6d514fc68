package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/nrprobe/nrprobe/probes"
)

// wantSocket is set where the test binary runs itself: "raw", "datagram" or "none".
const wantSocket = "NRPROBE_TEST_ICMP_SOCKET"

// TestICMP has the own kernel answer one echo request of each family, through the loopback interface.
func TestICMP(t *testing.T) {
	want := os.Getenv(wantSocket)
	n := makeNetwork(t, Config{Interface: "lo"}).(probes.ICMPNetwork)
	for _, text := range []string{"127.0.0.1", "::1"} {
		c, raw, err := n.DialICMP(t.Context(), netip.MustParseAddr(text))
		if want == "none" || want == "" && errors.Is(err, fs.ErrPermission) {
			if err == nil || probes.Classify(err) != probes.Error || !strings.Contains(err.Error(), "net.ipv4.ping_group_range") || !strings.Contains(err.Error(), "CAP_NET_RAW") {
				t.Errorf("neither socket is permitted: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if want != "" && raw != (want == "raw") {
			t.Errorf("raw is %v, want a %s socket", raw, want)
		}
		echo(t, c, text == "127.0.0.1")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func echo(t *testing.T, c probes.ICMPConn, v4 bool) {
	t.Helper()
	request := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 4711, Seq: 1, Data: []byte("nrprobe")}}
	wantType := icmp.Type(ipv6.ICMPTypeEchoReply)
	protocol := 58
	if v4 {
		request.Type, wantType, protocol = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, 1
	}
	b, err := request.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for b := make([]byte, 1500); ; {
		a, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		m, err := icmp.ParseMessage(protocol, b[:a.Size])
		if err != nil {
			t.Fatalf("%x: %v", b[:a.Size], err)
		}
		if m.Type != wantType {
			continue // a raw socket sees the request too
		}
		if got, ok := m.Body.(*icmp.Echo); !ok || string(got.Data) != "nrprobe" || got.Seq != 1 {
			t.Errorf("got %+v", m.Body)
		}
		if a.TTL < 1 || a.TTL > 255 || a.Time.Before(before) || a.Time.After(time.Now()) {
			t.Errorf("arrived with TTL %d at %v, between %v and %v", a.TTL, a.Time, before, time.Now())
		}
		return
	}
}

// TestICMPByPermission runs TestICMP in network namespaces whose kernels permit one socket, the other, and neither.
func TestICMPByPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces of their own need root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	nobody := "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all "
	for want, script := range map[string]string{
		"raw":      `echo 1 0 > /proc/sys/net/ipv4/ping_group_range && exec `,
		"datagram": `echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range && exec ` + nobody,
		"none":     `echo 1 0 > /proc/sys/net/ipv4/ping_group_range && exec ` + nobody,
	} {
		t.Run(want, func(t *testing.T) {
			f, err := os.Open(self) // as the test binary's folder may be closed to others
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", "ip link set lo up && "+script+"/proc/self/fd/3 -test.run='^TestICMP$'")
			cmd.Env, cmd.ExtraFiles = append(os.Environ(), wantSocket+"="+want), []*os.File{f}
			out, err := cmd.CombinedOutput()
			if err != nil && !bytes.Contains(out, []byte("FAIL")) {
				t.Skipf("cannot be run here: %v: %s", err, out)
			}
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestICMPOfTheOtherFamily(t *testing.T) {
	n := makeNetwork(t, Config{Family: "4"}).(probes.ICMPNetwork)
	if _, _, err := n.DialICMP(t.Context(), netip.IPv6Loopback()); probes.Classify(err) != probes.Unreachable {
		t.Errorf("got %v", err)
	}
	n = makeNetwork(t, Config{Interface: "wwan99"}).(probes.ICMPNetwork)
	if _, _, err := n.DialICMP(t.Context(), netip.IPv6Loopback()); err == nil || !strings.Contains(err.Error(), `there is no interface "wwan99"`) && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestDeniedInterfaceIsNotTakenForDeniedICMP(t *testing.T) {
	for err, want := range map[error]bool{
		explainBind("wwan0", syscall.EPERM):          false,
		os.NewSyscallError("socket", syscall.EACCES): true,
		syscall.EPROTONOSUPPORT:                      true,
		io.ErrUnexpectedEOF:                          false,
	} {
		if notOffered(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}

func TestMonotonic(t *testing.T) {
	now := time.Now()
	stamp := func(at time.Time) []byte {
		b := make([]byte, 16)
		binary.NativeEndian.PutUint64(b, uint64(at.Unix()))
		binary.NativeEndian.PutUint64(b[8:], uint64(at.Nanosecond()))
		return b
	}
	for _, test := range []struct {
		text string
		raw  []byte
		want time.Duration
	}{
		{"300 µs old", stamp(now.Add(-300 * time.Microsecond)), -300 * time.Microsecond},
		{"of the future", stamp(now.Add(time.Hour)), 0},
		{"of another time", stamp(now.Add(-time.Hour)), 0},
		{"cut short", make([]byte, 5), 0},
	} {
		if got := monotonic(now, test.raw).Sub(now); got != test.want {
			t.Errorf("%s: %v", test.text, got)
		}
	}
}

func FuzzIPv4Header(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 20, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 0})
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, packet []byte) {
		length, ttl := ipv4Header(packet)
		if length != 0 && (length < 20 || length > len(packet)) || ttl < 0 || ttl > 255 {
			t.Errorf("%x: %d, %d", packet, length, ttl)
		}
	})
}
