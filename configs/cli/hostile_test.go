//go:build !edge

package cli

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// wrongPin is the pin of no certificate.
const wrongPin = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// TestFarEndsThatSayNo shows message and exit code where a far end, or our trust in it, ends a measurement.
func TestFarEndsThatSayNo(t *testing.T) {
	far := startFarEnd(t, farEnds()...)
	streams, quic := far.Addrs().Streams[0].String(), far.Addrs().QUIC[0].String()
	store := startStore(t)
	agent := func(target, pin, uplink string) string {
		return file(t, "agent.yaml", fmt.Sprintf(`agent: {name: a}
probes: [{name: p, %s, every: 1s, count: 1%s}]
outbox: {path: %q}
uplink: {url: %q, token: "wrong"}
metrics: {listen: "off"}
`, target, pin, t.TempDir(), uplink))
	}
	for _, c := range []badInput{
		{"quic: another certificate than the pin", []string{"probe", "quic", quic, "--pin", wrongPin}, 1, "has the pin " + far.Pin() + ", not " + wrongPin},
		{"throughput: another certificate than the pin", []string{"probe", "throughput", quic, "--transport", "quic", "--pin", wrongPin}, 1, "has the pin " + far.Pin()},
		{"agent: another certificate than the pin", []string{"agent", "--once", "-c", agent(`kind: quic, target: "`+quic+`"`, ", pin: "+wrongPin, store)}, 1, "has the pin " + far.Pin()},
		{"agent: nobody at the target", []string{"agent", "--once", "-c", agent(`kind: tcp, target: "127.0.0.1:1"`, "", store)}, 4, "connection refused"},
		{"agent: refused token", []string{"agent", "--once", "-c", agent(`kind: tcp, target: "`+streams+`"`, "", store)}, 1, "the server answered 401 Unauthorized (check uplink.token"},
		{"agent: port of /metrics taken", []string{"agent", "-c", file(t, "agent.yaml", "probes: [{name: p, kind: tcp, target: h}]\nmetrics: {listen: \""+streams+"\"}\n")}, 1, "address already in use"},
		{"collector: port taken", []string{"collector", "--data", t.TempDir(), "--listen", streams}, 1, "address already in use"},
		{"reflector: port taken", []string{"reflector", "--data", t.TempDir(), "-c", file(t, "reflector.yaml", "streams: {listen: [\""+streams+"\"]}\nstamp: {listen: []}\ntls: {listen: []}\nquic: {listen: []}\n")}, 1, "address already in use"},
		{"demo: port taken", []string{"demo", "--listen", streams}, 1, "address already in use"},
		{"demo: no such trace", []string{"demo", "--trace", "/nonexistent.csv"}, 2, "open /nonexistent.csv: no such file"},
		{"demo: broken trace", []string{"demo", "--trace", file(t, "broken.csv", "\x00\xff,\"\n")}, 2, "broken.csv"},
		{"demo: no agents", []string{"demo", "--agents", "0"}, 2, "--agents 0: want 1 to 50"},
	} {
		t.Run(c.name, c.check)
	}
}

// TestWrongValuesAreWrongUse: what a command was told and cannot use is exit code 2. A port that cannot be opened is 1: no daemon
// has a target that could be out of reach. To a check, 1 means a broken budget and nothing else.
func TestWrongValuesAreWrongUse(t *testing.T) {
	collector := func(keys string) string {
		return file(t, "collector.yaml", keys+fmt.Sprintf("\nlisten: \"127.0.0.1:0\"\nqueue: {path: %q}\nsinks: [{kind: tsdb, path: %q}]\n", t.TempDir(), t.TempDir()))
	}
	check := func(more ...string) []string {
		return append([]string{
			"check", "-c", file(t, "budgets.yaml", "budgets:\n  - {name: a, metric: rtt, statistic: p95, bound: 20ms}\n"),
		}, more...)
	}
	recorded := []string{"--input", file(t, "c.csv", "unix_ms,rtt_ms\n1700000000000,1\n1700000001000,2\n"), "--time", "unix_ms", "--value", "rtt=rtt_ms"}
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(closed.Close)
	notOurs := "192.0.2.1:8086"
	for _, c := range []badInput{
		{"collector: no port", []string{"collector", "--data", t.TempDir(), "--listen", "foo"}, exitUsage, "address foo: missing port in address"},
		{"collector: a port that is none", []string{"collector", "--data", t.TempDir(), "--listen", ":99999"}, exitUsage, "address 99999: invalid port"},
		{"collector: data in a file", []string{"collector", "--data", file(t, "data", ""), "--listen", "127.0.0.1:0"}, exitUsage, "data: not a directory"},
		{"collector: no tokens", []string{"collector", "-c", collector("tokens_file: /nonexistent/tokens.yaml")}, exitUsage, "/nonexistent/tokens.yaml: no such file or directory"},
		{"collector: wrong tokens", []string{"collector", "-c", collector("tokens_file: " + file(t, "tokens.yaml", "colour: red\n"))}, exitUsage, "tokens.yaml:1: "},
		{"collector: no certificate", []string{"collector", "-c", collector("tls: {cert: /nonexistent/c.pem, key: /nonexistent/k.pem}")}, exitUsage, "open /nonexistent/c.pem: no such file or directory"},
		{"collector: not our address", []string{"collector", "--data", t.TempDir(), "--listen", notOurs}, exitFailed, "cannot assign requested address"},
		{"reflector: not our address", []string{"reflector", "--data", t.TempDir(), "--stamp", notOurs, "--streams", "off", "--tls", "off", "--quic", "off"}, exitFailed, "cannot assign requested address"},
		{"agent: not our address", []string{"agent", "-c", file(t, "agent.yaml", "probes: [{name: p, kind: tcp, target: h}]\noutbox: {path: "+t.TempDir()+"}\nmetrics: {listen: \""+notOurs+"\"}\n")}, exitFailed, "cannot assign requested address"},
		{"demo: not our address", []string{"demo", "--listen", notOurs}, exitFailed, "cannot assign requested address"},
		{"demo: no port", []string{"demo", "--listen", "foo"}, exitUsage, "address foo: missing port in address"},
		{"demo: data in a file", []string{"demo", "--data", file(t, "data", "")}, exitUsage, "data: not a directory"},
		{"check: baseline into no folder", check(append(recorded, "--save", filepath.Join(t.TempDir(), "none", "base.json"))...), exitUsage, "saving baseline: "},
		{"check: the store wants a token", check("--query", "prometheus="+closed.URL), exitUsage, "answers 401 Unauthorized"},
	} {
		t.Run(c.name, c.check)
	}
}

// TestRefusedTokenLosesNothing delivers with the right token what waits since the wrong one.
func TestRefusedTokenLosesNothing(t *testing.T) {
	far, store, outbox := startFarEnd(t, farEnds()...), startStore(t), t.TempDir()
	for i, c := range []struct {
		token string
		code  int
	}{{"wrong", 1}, {token, 0}} {
		config := file(t, "agent.yaml", fmt.Sprintf(`agent: {name: a}
probes: [{name: p%d, kind: tcp, target: %q, every: 1s, count: 1}]
outbox: {path: %q}
uplink: {url: %q, token: %q}
metrics: {listen: "off"}
`, i, far.Addrs().Streams[0].String(), outbox, store, c.token))
		if stdout, stderr, code := run(t, "agent", "--once", "-c", config); code != c.code {
			t.Fatalf("with token %q: exit code %d, want %d\n%s%s", c.token, code, c.code, stderr, stdout)
		}
	}
	_, fleet := request(t, http.MethodGet, store+"/api/nrprobe/fleet", nil)
	for _, probe := range []string{`"p0"`, `"p1"`} {
		if !strings.Contains(fleet, probe) {
			t.Errorf("the collector lacks the result of %s:\n%s", probe, fleet)
		}
	}
}

// TestGarbageOnEveryPort throws noise and an endless line at all that listens, and then measures and delivers as if
// nothing had been.
func TestGarbageOnEveryPort(t *testing.T) {
	far, store := startFarEnd(t, farEnds()...), startStore(t)
	a := far.Addrs()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, udp := range []string{a.STAMP[0].String(), a.QUIC[0].String()} {
		noise(t, rng, "udp", udp)
	}
	for _, tcp := range []string{a.Streams[0].String(), a.TLS[0].String(), strings.TrimPrefix(store, "http://")} {
		noise(t, rng, "tcp", tcp)
	}

	line := "good,agent=x f=1 1000\nbad f=\"" + strings.Repeat("x", 10<<20) + "\"\ngood,agent=y f=2 1000\n"
	status, body := request(t, http.MethodPost, store+"/api/v2/write?bucket=nr", strings.NewReader(line))
	if status != http.StatusBadRequest || !strings.Contains(body, "partial write: 1 of the lines could not be read") || !strings.Contains(body, "line 2: longer than 1048576 bytes") {
		t.Errorf("a line of 10 MB: %d %s", status, body)
	}
	if status, _ := request(t, http.MethodGet, store+"/health", nil); status != http.StatusOK {
		t.Errorf("/health answers %d", status)
	}

	config := file(t, "agent.yaml", fmt.Sprintf(`agent: {name: a}
probes:
  - {name: stamp, kind: stamp, target: %q, every: 1m, count: 4, interval: 1s}
  - {name: tcp, kind: tcp, target: %q, every: 1m, count: 1}
  - {name: quic, kind: quic, target: %q, every: 1m, count: 1, pin: %q}
outbox: {path: %q}
uplink: {url: %q, token: %s}
metrics: {listen: "127.0.0.1:0"}
`, a.STAMP[0], a.Streams[0], a.QUIC[0], far.Pin(), t.TempDir(), store, token))
	if stdout, stderr, code := run(t, "agent", "--once", "-c", config); code != 0 || strings.Count(stdout, ": ok in ") != 3 {
		t.Errorf("exit code %d\n%s%s", code, stderr, stdout)
	}
	garbageToAgent(t, rng, config)
}

// garbageToAgent runs the agent of the file, throws noise at its page and then asks for /metrics.
func garbageToAgent(t *testing.T, rng *rand.Rand, config string) {
	t.Helper()
	address := make(chan string, 1)
	out := &watched{text: "uplink="}
	out.act = func() {
		address <- regexp.MustCompile(`metrics=(\S+)`).FindStringSubmatch(out.seen.String())[1]
	}
	ended := make(chan int, 1)
	go func() { ended <- Run(process(t.TempDir(), io.Discard, out, "agent", "-c", config)) }()
	page := <-address
	noise(t, rng, "tcp", page)
	status, text := request(t, http.MethodGet, "http://"+page+"/metrics", nil)
	if status != http.StatusOK || !strings.Contains(text, "nrprobe_agent_") {
		t.Errorf("/metrics of the agent answers %d\n%s", status, text)
	}
	signalSelf(t, syscall.SIGTERM)
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// noise sends random bytes in several sizes. On a connection it waits until the other side has closed it.
func noise(t *testing.T, rng *rand.Rand, network, address string) {
	t.Helper()
	for _, size := range []int{1, 13, 44, 200, 1200, 9000} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		c, err := net.Dial(network, address)
		if err != nil {
			t.Fatalf("%s %s: %v", network, address, err)
		}
		_, _ = c.Write(b) // the far end may hang up in the middle: that is its right
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
			_, _ = io.Copy(io.Discard, tcp)
		}
		c.Close()
	}
}

// request asks the collector, with its token.
func request(t *testing.T, method, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Token "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text.String()
}
