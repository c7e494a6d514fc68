package trust

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nrprobe/nrprobe/probes"
)

func target(t *testing.T, text string) probes.Target {
	t.Helper()
	parsed, err := probes.ParseTarget(text, 8443)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestKnownHostsTrustOnFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "nrprobe", "known_hosts")
		first, second := Pin([]byte("first")), Pin([]byte("second"))
		if err := NewKnownHosts(path).Trust(target(t, "Far.example"), first); err != nil {
			t.Fatal(err)
		}
		if err := NewKnownHosts(path).Trust(target(t, "[2001:db8::1]:9"), second); err != nil {
			t.Fatal(err)
		}
		if err := NewKnownHosts(path).Trust(target(t, "far.example:8443"), first); err != nil {
			t.Error(err)
		}
		err := NewKnownHosts(path).Trust(target(t, "far.example"), second)
		want := "certificate of far.example:8443 has changed: " + path + " has known it as " + first + " since 2000-01-01, now it shows " + second +
			": if the far end was set up anew, remove its line from that file or pass --pin " + second + ", otherwise somebody answers in its place"
		if err == nil || err.Error() != want || probes.Classify(err) != probes.Auth {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(text), knownHostsHead+"[2001:db8::1]:9 "+second+" 2000-01-01\nfar.example:8443 "+first+" 2000-01-01\n"; got != want {
			t.Errorf("file holds\n%swant\n%s", got, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	})
}

func TestKnownHostsOfManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "known_hosts")
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { // each with a KnownHosts of its own, as processes have
			errs[i] = NewKnownHosts(path).Trust(probes.Target{Host: fmt.Sprintf("h%d", i), Port: 1}, Pin([]byte{byte(i)}))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	hosts, err := NewKnownHosts(path).read()
	if err != nil || len(hosts) != len(errs) {
		t.Errorf("%d of %d are remembered: %v", len(hosts), len(errs), err)
	}
}

func TestKnownHostsThatCannotBeUsed(t *testing.T) {
	pin := Pin(nil)
	for name, test := range map[string]struct{ text, want string }{
		"garbage":   {"\x00\x01\x02", "line 1: 1 words where three are wanted"},
		"port":      {"# ok\n\nhost:0 " + pin + " 2026-01-01\n", `line 3: "host:0" is not a host and a port`},
		"port zero": {"host:08 " + pin + " 2026-01-01\n", `"host:08" is not a host and a port`},
		"capitals":  {"Host:8 " + pin + " 2026-01-01\n", `"Host:8" is not a host and a port as they are written here, like host:8`},
		"pin":       {"host:8 sha256:12 2026-01-01\n", `"sha256:12" is not a pin`},
		"day":       {"host:8 " + pin + " yesterday\n", `"yesterday" is not a day like 2026-11-23`},
		"twice":     {"host:8 " + pin + " 2026-01-01\nhost:8 " + pin + " 2026-01-01\n", "line 2: host:8 is listed twice: correct or remove the line"},
		"size":      {strings.Repeat("#", maxKnownHosts+1), "is larger than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{NewKnownHosts(path).Trust(target(t, "far.example"), pin), NewKnownHosts(path).Check()} {
				if err == nil || !strings.Contains(err.Error(), "known hosts file "+path+": ") || !strings.Contains(err.Error(), test.want) || probes.Classify(err) != probes.Auth {
					t.Errorf("got %v, want %s", err, test.want)
				}
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != test.text {
				t.Error("the file was changed")
			}
		})
	}
	for _, host := range []string{"#far", "a\u00a0b"} {
		path := filepath.Join(t.TempDir(), "known_hosts")
		err := NewKnownHosts(path).Trust(probes.Target{Host: host, Port: 1}, pin)
		if err == nil || !strings.Contains(err.Error(), "cannot be listed there") {
			t.Errorf("host %q: got %v", host, err)
		}
	}
	folder := t.TempDir()
	if err := NewKnownHosts(folder).Trust(target(t, "far.example"), pin); probes.Classify(err) != probes.Auth || !strings.Contains(err.Error(), folder) {
		t.Errorf("a folder in place of the file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := NewKnownHosts(filepath.Join(file, "known_hosts")).Trust(target(t, "far.example"), pin)
	if probes.Classify(err) != probes.Auth || !strings.Contains(err.Error(), "or pass --pin or --ca instead") {
		t.Errorf("a folder that cannot be made: %v", err)
	}
}

func FuzzKnownHosts(f *testing.F) {
	f.Add([]byte(knownHostsHead + "far.example:8443 " + Pin(nil) + " 2026-11-23\n"))
	f.Add([]byte("[::1%eth0]:1 " + Pin(nil) + " 2026-11-23"))
	f.Add([]byte("a:1 b c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		hosts, err := parseKnownHosts(text)
		if err != nil {
			return
		}
		written := formatKnownHosts(hosts)
		if len(written) > maxKnownHosts {
			return
		}
		back, err := parseKnownHosts(written)
		if err != nil || len(back) != len(hosts) || !bytes.Equal(formatKnownHosts(back), written) {
			t.Errorf("what was read from %q was written as %q and read back as %v, %v", text, written, back, err)
		}
	})
}
