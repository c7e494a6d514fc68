//go:build netns || bench

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// link is two network namespaces joined by a veth pair: near 10.77.0.1, far 10.77.0.2.
type link struct{ near, far string }

func newLink(t *testing.T) link {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run make test-net as root")
	}
	l := link{near: fmt.Sprintf("nrp-near-%d", os.Getpid()), far: fmt.Sprintf("nrp-far-%d", os.Getpid())}
	t.Cleanup(func() {
		for _, ns := range []string{l.near, l.far} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	for _, line := range []string{
		"ip netns add " + l.near,
		"ip netns add " + l.far,
		"ip link add wwan0 netns " + l.near + " type veth peer name eth0 netns " + l.far,
		"ip -n " + l.near + " addr add 10.77.0.1/24 dev wwan0",
		"ip -n " + l.far + " addr add 10.77.0.2/24 dev eth0",
		"ip -n " + l.near + " addr add fd77::1/64 dev wwan0 nodad",
		"ip -n " + l.far + " addr add fd77::2/64 dev eth0 nodad",
		"ip -n " + l.near + " link set lo up",
		"ip -n " + l.far + " link set lo up",
		"ip -n " + l.near + " link set wwan0 up",
		"ip -n " + l.far + " link set eth0 up",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	return l
}

// in returns a command line that runs in a namespace.
func in(ns string, argv ...string) []string {
	return append([]string{"ip", "netns", "exec", ns}, argv...)
}
