package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nrprobe/nrprobe/probes/all"
)

// process is what main makes, with a home and streams of the test's own.
func process(home string, stdout, stderr io.Writer, args ...string) Process {
	return Process{
		Args: args, Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Version: "test",
		LookupEnv: func(name string) (string, bool) { return home, name == "HOME" && home != "" },
		Kinds:     all.Kinds(), FarEnds: all.FarEnds,
	}
}

// run executes a command line as main would, with a home of its own.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(process(t.TempDir(), &out, &errs, args...))
	return out.String(), errs.String(), code
}

// background runs f until the test ends.
func background(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// silentPort is an address on which nobody listens, neither over TCP nor over UDP: unlike a port that was free a moment ago,
// the kernel gives this one to nobody.
const silentPort = "127.0.0.1:1"

// badInput is a command line that fails, and how.
type badInput struct {
	name string
	args []string
	code int
	want string // stderr or stdout holds it
}

func (c badInput) check(t *testing.T) {
	stdout, stderr, code := run(t, c.args...)
	if code != c.code || !strings.Contains(stderr+stdout, c.want) {
		t.Errorf("exit code %d, want %d; output lacks %q:\n%s%s", code, c.code, c.want, stderr, stdout)
	}
	if n := strings.Count(stderr, "nrprobe: "); n > 1 {
		t.Errorf("%d errors where one was to be seen:\n%s", n, stderr)
	}
}

func TestBadInputGetsOneClearError(t *testing.T) {
	agent := func(probe string) string {
		return file(t, "agent.yaml", "agent: {name: a}\nprobes:\n  - "+probe+"\nuplink: {url: \"http://127.0.0.1:1\"}\n")
	}
	for _, c := range []badInput{
		{"unknown command", []string{"porbe"}, 2, `unknown command "porbe" (did you mean "probe"?)`},
		{"unknown kind", []string{"probe", "stmap", "host"}, 2, `unknown probe kind "stmap" (did you mean "stamp"?)`},
		{"unknown command of config", []string{"config", "chekc"}, 2, `unknown command "chekc" (did you mean "check"?): see nrprobe config --help`},
		{"arguments too many", []string{"version", "now"}, 2, `nrprobe version takes no arguments, got "now"`},
		{"no kind", []string{"probe"}, 2, "which kind? one of stamp"},
		{"no target", []string{"probe", "stamp"}, 2, "nrprobe probe stamp wants TARGET, got 0 arguments: see nrprobe probe stamp --help"},
		{"unknown flag", []string{"probe", "stamp", "host", "--cuont", "3"}, 2, "unknown flag: --cuont"},
		{"wrong unit", []string{"probe", "stamp", "host", "--interval", "10"}, 2, `"10" is not a duration: write it like 10ms, 30s, 1h or 7d`},
		{"negative interval", []string{"probe", "stamp", "host", "--interval", "-1s"}, 2, "-1s is below the minimum of 1ms"},
		{"bad target", []string{"probe", "stamp", "host:99999"}, 2, `"host:99999" is not a target`},
		{"no such name", []string{"probe", "stamp", "nrprobe.invalid", "--count", "1"}, 4, "unreachable"},
		{"nobody there", []string{"probe", "tcp", "127.0.0.1:1", "--count", "1"}, 4, "refused"},
		{"no such interface", []string{"probe", "stamp", "127.0.0.1", "--interface", "nope0"}, 4, `there is no interface "nope0"`},
		{"bad pin", []string{"probe", "quic", "127.0.0.1", "--pin", "sha1:00"}, 2, "pin"},
		{"bad log level", []string{"probe", "stamp", "127.0.0.1", "--log-level", "loud"}, 2, `--log-level "loud" is not one of debug, info, warn, error`},
		{"agent without anything", []string{"agent"}, 2, "want a configuration file (-c agent.yaml), or both --target HOST and --to URL"},
		{"agent with a port", []string{"agent", "--target", "h:8620", "--to", "http://c:8086"}, 2, `--target "h:8620": want a host without a port`},
		{"missing file", []string{"agent", "-c", "/nonexistent/agent.yaml"}, 2, "/nonexistent/agent.yaml: cannot be read: no such file or directory"},
		{"unknown key", []string{"config", "check", agent("{name: x, kind: stamp, target: h, intervall: 10ms}")}, 2, `agent.yaml:3: probes[0].intervall: unknown key (did you mean "interval"?)`},
		{"wrong unit in file", []string{"config", "check", agent("{name: x, kind: stamp, target: h, interval: 10parsecs}")}, 2, `agent.yaml:3: probes[0].interval: "10parsecs" is not a duration`},
		{"negative interval in file", []string{"config", "check", agent("{name: x, kind: stamp, target: h, interval: -5ms}")}, 2, "agent.yaml:3: probes[0].interval: -5ms is below the minimum of 1ms"},
		{"unknown kind in file", []string{"config", "check", agent("{name: x, kind: stmap, target: h}")}, 2, `(did you mean "stamp"?)`},
		{"broken YAML", []string{"config", "check", "--role", "agent", file(t, "broken.yaml", "a: [")}, 2, "broken.yaml:1:"},
		{"binary garbage as a file", []string{"config", "check", "--role", "agent", file(t, "garbage.yaml", "\x00\x01\xff\xfe\x00")}, 2, "garbage.yaml"},
		{"no role to be told", []string{"config", "check", file(t, "what.yaml", "colour: red")}, 2, "add --role"},
	} {
		t.Run(c.name, c.check)
	}
}

func TestGoodFilesAreAccepted(t *testing.T) {
	roles := []string{"agent", "reflector"}
	for _, r := range serverRoles() {
		roles = append(roles, r.name)
	}
	for _, role := range roles {
		stdout, stderr, code := run(t, "config", "check", filepath.Join("..", role+".yaml"))
		if code != 0 || !strings.Contains(stdout, "good "+role+" configuration") {
			t.Errorf("%s: exit code %d\n%s%s", role, code, stdout, stderr)
		}
	}
}

func TestHelpHasExamplesForEveryCommand(t *testing.T) {
	p := Process{Kinds: all.Kinds(), FarEnds: all.FarEnds}
	root := newRoot(&p)
	commands := root.Commands()
	for _, c := range root.Commands() {
		commands = append(commands, c.Commands()...)
	}
	for _, c := range commands {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" || c.HasSubCommands() && c.Name() == "config" {
			continue
		}
		if c.Short == "" || c.Example == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: want a short line without a full stop, and an example", c.CommandPath())
		}
	}
}
