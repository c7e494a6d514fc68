package host

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

func TestBoundToTheLoopbackInterface(t *testing.T) {
	n := makeNetwork(t, Config{Interface: "lo", Family: "4"})
	l, err := n.Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strings.TrimPrefix(l.Addr().String(), "0.0.0.0")
	c, err := n.Dial(t.Context(), "tcp", "127.0.0.1"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pc, err := n.ListenPacket(t.Context(), "udp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for _, socket := range []syscall.Conn{c.(*net.TCPConn), l.(*net.TCPListener), pc.(*net.UDPConn)} {
		if name := device(t, socket); name != "lo" {
			t.Errorf("a %T is bound to %q", socket, name)
		}
	}
}

// TestNamesThroughTheInterface: the chosen name servers are asked through the chosen interface, and through no other.
func TestNamesThroughTheInterface(t *testing.T) {
	server := probetest.NameServer(t, names)
	got, err := makeNetwork(t, Config{Interface: "lo", Family: "4", DNS: []string{server}}).Resolve(t.Context(), "far.example.")
	if err != nil || len(got) != 1 || got[0].String() != "192.0.2.1" {
		t.Errorf("through lo: %v, %v", got, err)
	}
	_, err = makeNetwork(t, Config{Interface: "nope0", DNS: []string{server}}).Resolve(t.Context(), "far.example.")
	if probes.Classify(err) != probes.Unreachable || !strings.Contains(err.Error(), `there is no interface "nope0"`) {
		t.Errorf("through an interface that is not there: %v (%s)", err, probes.Classify(err))
	}
}

func TestOnAnotherInterface(t *testing.T) {
	for where, bound := range map[string]string{"lo": "[::]", "127.0.0.1": "127.0.0.1", "::1": "[::1]"} {
		other, err := makeNetwork(t, Config{Interface: "nope0"}).(probes.InterfaceNetwork).On(where)
		if err != nil {
			t.Fatal(err)
		}
		pc, err := other.ListenPacket(t.Context(), "udp", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := pc.LocalAddr().String(); !strings.HasPrefix(got, bound+":") || device(t, pc.(*net.UDPConn)) != "lo" {
			t.Errorf("%s: bound to %s of %q, want %s of lo", where, got, device(t, pc.(*net.UDPConn)), bound)
		}
		if err := pc.Close(); err != nil {
			t.Error(err)
		}
	}
	for where, want := range map[string]string{"192.0.2.77": "no interface has the address 192.0.2.77", "::1": "address ::1 is not IPv4, which alone is to be used"} {
		_, err := makeNetwork(t, Config{Family: "4"}).(probes.InterfaceNetwork).On(where)
		if probes.Classify(err) != probes.Unreachable || err.Error() != want {
			t.Errorf("%s: %v, want %s", where, err, want)
		}
	}
	other, err := makeNetwork(t, Config{}).(probes.InterfaceNetwork).On("nope0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Dial(t.Context(), "udp", "127.0.0.1:9"); probes.Classify(err) != probes.Unreachable || !strings.Contains(err.Error(), `there is no interface "nope0"`) {
		t.Errorf("got %v", err)
	}
}

func device(t *testing.T, c syscall.Conn) string {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	const soBindToIfindex = 62 // socket(7); x/sys has it, the standard library does not
	var index int
	if controlErr := raw.Control(func(fd uintptr) { index, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, soBindToIfindex) }); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	if index == lo.Index {
		return lo.Name
	}
	return ""
}

func TestUnknownInterface(t *testing.T) {
	for _, name := range []string{"wwan99", "a-name-that-no-interface-can-have"} {
		n := makeNetwork(t, Config{Interface: name, SourceFallback: true})
		_, err := n.Dial(t.Context(), "udp", "127.0.0.1:9")
		if err == nil || !strings.Contains(err.Error(), `there is no interface "`+name+`": there are lo`) || probes.Classify(err) != probes.Unreachable {
			t.Errorf("got %v (%s)", err, probes.Classify(err))
		}
		if _, err := n.ListenPacket(t.Context(), "udp", ""); probes.Classify(err) != probes.Unreachable {
			t.Errorf("got %v", err)
		}
	}
}

func TestDeniedInterface(t *testing.T) {
	err := explainBind("wwan0", os.NewSyscallError("setsockopt", syscall.EPERM))
	if !strings.Contains(err.Error(), "binding to interface wwan0") || !strings.Contains(err.Error(), "CAP_NET_RAW") || !errors.Is(err, errDenied) || probes.Classify(err) != probes.Error {
		t.Errorf("got %v", err)
	}
}

func TestSourceFallback(t *testing.T) {
	denied := explainBind("lo", syscall.EPERM)
	open := func(b binding) (string, error) {
		if b.device != "" {
			return "", denied
		}
		return b.listenAddress(":0") + " " + b.listenAddress("") + " " + b.listenAddress("192.0.2.1:5"), nil
	}
	var log strings.Builder
	asked := &network{config: Config{Interface: "lo", SourceFallback: true, Log: slog.New(slog.NewTextHandler(&log, nil))}}
	for range 2 {
		if got, err := attempt(asked, open); err != nil || got != "127.0.0.1:0 127.0.0.1:0 192.0.2.1:5" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "CAP_NET_RAW") {
		t.Errorf("it was not said once, and why:\n%s", log.String())
	}
	if _, err := attempt(&network{config: Config{Interface: "lo"}}, open); !errors.Is(err, errDenied) {
		t.Errorf("without having been asked: %v", err)
	}
}

// TestWithoutPrivilege: a fresh socket is bound without privilege since Linux 5.7; on older kernels the remedy is named.
func TestWithoutPrivilege(t *testing.T) {
	if os.Getuid() != 0 {
		return // then every other test here has run without privilege
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
		self, "-test.run=^TestBoundToTheLoopbackInterface$").CombinedOutput()
	if err != nil && strings.Contains(string(out), "permission denied") && !strings.Contains(string(out), "FAIL") {
		t.Skipf("the test binary cannot be run by nobody: %s", out)
	}
	if err != nil && !strings.Contains(string(out), "CAP_NET_RAW") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
