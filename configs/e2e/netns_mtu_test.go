//go:build netns

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// newHop is a link whose two ends are joined by two routers: near 10.77.1.1 and fd77:1::1, far 10.77.3.1 and fd77:3::1.
// Between the routers, and nowhere else, packets may have up to mtu bytes. Silent routers send no ICMP of their own.
func newHop(t *testing.T, mtu int, silent bool) link {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run make test-net as root")
	}
	name := func(part string) string { return fmt.Sprintf("nrp-%s-%d", part, os.Getpid()) }
	near, r1, r2, far := name("near"), name("r1"), name("r2"), name("far")
	t.Cleanup(func() {
		for _, ns := range []string{near, r1, r2, far} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	lines := []string{
		"netns add " + near, "netns add " + r1, "netns add " + r2, "netns add " + far,
		"link add wwan0 netns " + near + " type veth peer name edge0 netns " + r1,
		"link add core0 netns " + r1 + " type veth peer name core0 netns " + r2,
		"link add eth0 netns " + far + " type veth peer name edge0 netns " + r2,
	}
	for _, end := range []struct{ ns, dev, net, host string }{
		{near, "wwan0", "1", "1"}, {r1, "edge0", "1", "2"}, {r1, "core0", "2", "1"}, {r2, "core0", "2", "2"}, {r2, "edge0", "3", "2"}, {far, "eth0", "3", "1"},
	} {
		lines = append(lines,
			"-n "+end.ns+" addr add 10.77."+end.net+"."+end.host+"/24 dev "+end.dev,
			"-n "+end.ns+" addr add fd77:"+end.net+"::"+end.host+"/64 dev "+end.dev+" nodad",
			"-n "+end.ns+" link set "+end.dev+" up",
		)
	}
	for _, ns := range []string{near, r1, r2, far} {
		lines = append(lines, "-n "+ns+" link set lo up")
	}
	for _, ns := range []string{r1, r2} {
		lines = append(lines, fmt.Sprintf("-n %s link set core0 mtu %d", ns, mtu),
			"netns exec "+ns+" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
		if silent {
			lines = append(lines, "-n "+ns+" rule add iif lo ipproto icmp blackhole", "-n "+ns+" -6 rule add iif lo ipproto ipv6-icmp blackhole")
		}
	}
	for _, route := range []string{
		near + " route add default via 10.77.1.2", near + " -6 route add default via fd77:1::2",
		r1 + " route add 10.77.3.0/24 via 10.77.2.2", r1 + " -6 route add fd77:3::/64 via fd77:2::2",
		r2 + " route add 10.77.1.0/24 via 10.77.2.1", r2 + " -6 route add fd77:1::/64 via fd77:2::1",
		far + " route add default via 10.77.3.2", far + " -6 route add default via fd77:3::2",
	} {
		lines = append(lines, "-n "+route)
	}
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	return link{near: near, far: far}
}

// TestNetnsPathMTU finds the MTU of a hop in the middle to the byte, over both families, with the routers' help and
// against their silence.
func TestNetnsPathMTU(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, mtu := range []int{1280, 1400, 1500} {
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d silent %v", mtu, silent), func(t *testing.T) {
				l := newHop(t, mtu, silent)
				reflector := start(t, in(l.far, program(t), "reflector", "--data", t.TempDir())...)
				reflector.waitFor(t, `ready`, patience)
				for _, target := range []string{"10.77.3.1", "fd77:3::1"} {
					argv := in(l.near, program(t), "probe", "stamp", target, "--path-mtu", "--count", "10", "--interval", "200ms", "--json")
					stdout, stderr, code := run(t, argv...)
					if code != 0 {
						t.Fatalf("%s: exit code %d\n%s\n%s", target, code, stdout, stderr)
					}
					r := result(t, stdout)
					for _, name := range []string{"path_mtu_bytes", "path_mtu_up_bytes", "path_mtu_down_bytes"} {
						if r.Values[name] != float64(mtu) {
							t.Errorf("%s: %s = %v", target, name, r.Values[name])
						}
					}
					said := strings.Contains(r.Info["path_mtu"], fmt.Sprintf("ICMP messages, the last one saying %d", mtu))
					if want := !silent && mtu < 1500; said != want {
						t.Errorf("%s: %s", target, r.Info["path_mtu"])
					}
					t.Logf("%s: %s packets, %v: %s", target, r.Info["path_mtu_packets"], r.Elapsed, r.Info["path_mtu"])
				}
				reflector.stop(t)
			})
		}
	}
}
