package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/nrprobe/nrprobe/probes/host"
	"github.com/nrprobe/nrprobe/probes/reflector"
	"github.com/nrprobe/nrprobe/probes/stamp"
)

// TestReflectorFlags puts flags above a file.
func TestReflectorFlags(t *testing.T) {
	at := func(list ...string) reflector.Listen { return reflector.Listen{Addresses: list} }
	for name, c := range map[string]struct {
		args []string
		want reflector.Config
	}{
		"none": {nil, reflector.Config{STAMP: reflector.STAMP{Listen: at(":1"), Key: "k"}, TLS: at(":2"), QUIC: at(":3"), Data: "d"}},
		"all": {
			[]string{"--stamp", ":4", "--stamp", "192.0.2.1:5", "--streams", ":6", "--tls", "off", "--quic=:7,:8", "--data", "e", "--stamp-key-file", "f"},
			reflector.Config{STAMP: reflector.STAMP{Listen: at(":4", "192.0.2.1:5"), KeyFile: "f"}, Streams: at(":6"), QUIC: at(":7", ":8"), Data: "e"},
		},
	} {
		got := reflector.Config{STAMP: reflector.STAMP{Listen: at(":1"), Key: "k"}, TLS: at(":2"), QUIC: at(":3"), Data: "d"}
		var flags reflectorFlags
		set := pflag.NewFlagSet("reflector", pflag.ContinueOnError)
		flags.add(set)
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if err := flags.apply(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestReflectorFlagsThatCannotBe: what is wrong with the flags is a wrong use, whether the flag or the reflector says so.
func TestReflectorFlagsThatCannotBe(t *testing.T) {
	reflector := func(args ...string) []string { return append([]string{"reflector"}, args...) }
	for _, c := range []badInput{
		{"no port", reflector("--stamp", "foo"), exitUsage, `stamp: "foo" is not an address to listen on: write it like :8620`},
		{"a port that is none", reflector("--quic", ":99999"), exitUsage, `quic: ":99999" is not an address to listen on: want a port from 0 to 65535`},
		{"no port for iperf3", reflector("--iperf3=foo"), exitUsage, `iperf3: "foo" is not an address to listen on`},
		{"short key", reflector("--stamp-key-file", file(t, "short.key", "short")), exitUsage, "short.key holds 5 bytes: STAMP needs 16 or more"},
		{"no key", reflector("--stamp-key-file", "/nonexistent/key"), exitUsage, "open /nonexistent/key: no such file or directory"},
		{"data in a file", reflector("--data", file(t, "data", "")), exitUsage, "data/certificate.pem: not a directory"},
		{"all off", reflector("--stamp", "off", "--streams", "off", "--tls", "off", "--quic", "off"), exitUsage, "nothing to listen on"},
		{"an address and off", reflector("--stamp", "127.0.0.1:0", "--stamp", "off"), exitUsage, "--stamp 127.0.0.1:0,off: off closes the port and stands alone: leave it out, or the addresses"},
		{"off and addresses", reflector("--tls", "off,:1,:2"), exitUsage, "--tls off,:1,:2: off closes the port and stands alone: leave it out, or the addresses"},
	} {
		t.Run(c.name, c.check)
	}
}

// TestSTAMPWithAKey measures over the loopback interface against a reflector that has a key from its file: with the same
// key, with another and with none.
func TestSTAMPWithAKey(t *testing.T) {
	const secret = "a secret of 26 characters!"
	key := file(t, "stamp.key", secret+"\n")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := loadReflector(&Process{}, file(t, "reflector.yaml", fmt.Sprintf(`
stamp: {listen: ["127.0.0.1:0"], key_file: %q}
streams: {listen: []}
tls: {listen: []}
quic: {listen: []}
data: %q
`, key, t.TempDir())))
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	network, err := host.New(host.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := reflector.New(config, network, log, stamp.FarEnd(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if text := logged.String(); !strings.Contains(text, "chmod 600 "+key) || strings.Contains(text, "secret of 26") {
		t.Errorf("logged %s", text)
	}
	background(t, "reflector", r.Run)
	target := r.Addrs().STAMP[0].String()
	for _, c := range []struct {
		name, flag string
		code       int
		want       string
	}{
		{"the same key", "--key-file=" + file(t, "same.key", secret), exitOK, ""},
		{"another key", "--key=0123456789abcdef", exitFailed, "the key is not that of the reflector at " + target + ": set the same at both ends"},
		{"no key", "--size=200", exitUnreachable, "no reply from " + target},
	} {
		stdout, stderr, code := run(t, "probe", "stamp", target, "--count=3", "--interval=1s", "--timeout=1s", c.flag)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d\n%s%s", c.name, code, c.code, stdout, stderr)
		}
	}
}

// TestSTAMPKeyProblems names what is wrong with a key, and never the key.
func TestSTAMPKeyProblems(t *testing.T) {
	short := file(t, "short.key", "tooshort")
	for text, want := range map[string]string{
		`stamp: {key: tooshort}`:                                  "stamp: the key has 8 bytes: STAMP needs 16 or more",
		`stamp: {key: 0123456789abcdef, key_file: ` + short + `}`: "stamp: key and key_file are both given: keep one",
		`stamp: {key_file: ` + short + `}`:                        "stamp: key_file: " + short + " holds 8 bytes: STAMP needs 16 or more",
		`stamp: {key_file: /no/such/file}`:                        "stamp: key_file: reading secret: open /no/such/file",
	} {
		config, err := loadReflector(&Process{}, file(t, "reflector.yaml", text+"\ndata: "+filepath.Join(t.TempDir(), "data")))
		if err == nil {
			_, err = reflector.New(config, nil, slog.New(slog.DiscardHandler), stamp.FarEnd(slog.New(slog.DiscardHandler)))
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "tooshort") || strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
