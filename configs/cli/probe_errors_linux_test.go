//go:build !edge

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nrprobe/nrprobe/probes/all"
)

// TestMissingCapability runs each kind as a user who may do nothing, in a network namespace as the kernel makes it: the
// kinds that need a capability say which, and the others need none, not even to bind to an interface.
func TestMissingCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skipf("the own program cannot be read: %v", err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "nrprobe")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kind := range all.Kinds().All() {
		t.Run(kind.Name, func(t *testing.T) {
			args := append([]string{"probe", kind.Name, "127.0.0.1", "--interface", "lo"}, brief(kind.Name)...)
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = []string{childArgs + "=" + strings.Join(args, "\n")}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Unshareflags: syscall.CLONE_NEWNET}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Skipf("this host does not let a program be run so: %v", err)
			}
			want, code := "", exitUnreachable // the namespace's own loopback is down
			if kind.Name == "icmp" {
				want, code = `sysctl -w net.ipv4.ping_group_range="0 2147483647" (it counts for IPv6 too), or allow the second with the capability CAP_NET_RAW`, exitFailed
			}
			if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), want) || want == "" && strings.Contains(string(out), "CAP_") {
				t.Errorf("exit code %d, want %d and %q:\n%s", got, code, want, out)
			}
		})
	}
}
