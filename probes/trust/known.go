package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// KnownHosts remembers the certificates of far ends in a file that a person can read and edit:
//
//	reflector.example:8443 sha256:9f86d0… 2026-11-23
//
// Host and port, pin, and the day it was first seen; lines that begin with # and empty ones are skipped. It is safe for
// concurrent use, by several processes too.
type KnownHosts struct {
	path string
	mu   sync.Mutex // one Trust at a time reads, decides and writes
}

// maxKnownHosts bounds the file: some ten thousand far ends.
const maxKnownHosts = 1 << 20

const knownHostsHead = "# Far ends that nrprobe knows: host and port, SHA-256 of the certificate, day it was first seen.\n" +
	"# Remove a line to have that far end trusted anew on next use.\n"

// NewKnownHosts uses the file at path, which need not exist yet. It opens nothing.
func NewKnownHosts(path string) *KnownHosts { return &KnownHosts{path: path} }

// Path is the file's path.
func (k *KnownHosts) Path() string { return k.path }

// Check reads the file and says what is wrong with it. A file that does not exist is right.
func (k *KnownHosts) Check() error {
	_, err := k.read()
	return err
}

// Trust says whether the target may show the certificate with that pin. On first use it is remembered before Trust
// returns nil. A different pin, or a file that cannot be read or written, is a Failure of outcome auth.
func (k *KnownHosts) Trust(t probes.Target, pin string) error {
	name := strings.ToLower(t.Address())
	k.mu.Lock()
	defer k.mu.Unlock()
	hosts, err := k.read()
	if err != nil {
		return err
	}
	if known, ok := hosts[name]; ok {
		return k.compare(name, known, pin)
	}
	return k.remember(name, pin)
}

func (k *KnownHosts) compare(name string, known knownHost, pin string) error {
	if known.pin == pin {
		return nil
	}
	return probes.Fail(probes.Auth, "certificate of %s has changed: %s has known it as %s since %s, now it shows %s: "+
		"if the far end was set up anew, remove its line from that file or pass --pin %s, otherwise somebody answers in its place",
		name, k.path, known.pin, known.since.Format(time.DateOnly), pin, pin)
}

// remember reads the file once more under a lock, because another process may have added to it meanwhile.
func (k *KnownHosts) remember(name, pin string) error {
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return k.unwritable(err)
	}
	unlock, err := lockFile(k.path + ".lock")
	if err != nil {
		return k.unwritable(err)
	}
	defer unlock()
	hosts, err := k.read()
	if err != nil {
		return err
	}
	if known, ok := hosts[name]; ok {
		return k.compare(name, known, pin)
	}
	hosts[name] = knownHost{pin: pin, since: time.Now().UTC()}
	text := formatKnownHosts(hosts)
	// What would not be read back, for its size or for a host name with strange letters, must not get into the file.
	back, err := parseKnownHosts(text)
	if err == nil && back[name].pin != pin {
		err = errors.New("it would be taken for a comment")
	}
	if err != nil {
		return k.unwritable(fmt.Errorf("%q cannot be listed there: %w", name, err))
	}
	if err := writeFile(k.path, text, 0o600); err != nil {
		return k.unwritable(err)
	}
	return nil
}

func (k *KnownHosts) unwritable(err error) error {
	return probes.Fail(probes.Auth, "remembering a certificate in %s: %w: make the file writable, or pass --pin or --ca instead", k.path, err)
}

func (k *KnownHosts) read() (map[string]knownHost, error) {
	f, err := os.Open(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]knownHost{}, nil
	}
	if err != nil {
		return nil, probes.Fail(probes.Auth, "reading known hosts: %w: make the file readable, or pass --pin or --ca instead", err)
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(f, maxKnownHosts+1))
	if err != nil {
		return nil, probes.Fail(probes.Auth, "reading known hosts: %w", err)
	}
	hosts, err := parseKnownHosts(text)
	if err != nil {
		return nil, probes.Fail(probes.Auth, "known hosts file %s: %w", k.path, err)
	}
	return hosts, nil
}

type knownHost struct {
	pin   string
	since time.Time // a day, UTC
}

// parseKnownHosts is strict: a line that cannot be understood might be the one that matters.
func parseKnownHosts(text []byte) (map[string]knownHost, error) {
	if len(text) > maxKnownHosts {
		return nil, fmt.Errorf("it is larger than %d bytes: remove lines that are no longer used", maxKnownHosts)
	}
	hosts := map[string]knownHost{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		words := strings.Fields(string(line))
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		name, host, err := parseKnownHost(words)
		if _, twice := hosts[name]; err == nil && twice {
			err = fmt.Errorf("%s is listed twice", name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: correct or remove the line", number, err)
		}
		hosts[name] = host
	}
	return hosts, nil
}

func parseKnownHost(words []string) (string, knownHost, error) {
	if len(words) != 3 {
		return "", knownHost{}, fmt.Errorf("%d words where three are wanted, host:port sha256:… and a day like 2026-11-23", len(words))
	}
	host, port, err := net.SplitHostPort(words[0])
	if n, numErr := strconv.ParseUint(port, 10, 16); err != nil || numErr != nil || n == 0 || host == "" || strconv.FormatUint(n, 10) != port {
		return "", knownHost{}, fmt.Errorf("%q is not a host and a port", words[0])
	}
	name := strings.ToLower(net.JoinHostPort(host, port))
	if name != words[0] {
		return "", knownHost{}, fmt.Errorf("%q is not a host and a port as they are written here, like %s", words[0], name)
	}
	pin, err := ParsePin(words[1])
	if err != nil {
		return "", knownHost{}, err
	}
	since, err := time.Parse(time.DateOnly, words[2])
	if err != nil {
		return "", knownHost{}, fmt.Errorf("%q is not a day like 2026-11-23", words[2])
	}
	return name, knownHost{pin: pin, since: since}, nil
}

func formatKnownHosts(hosts map[string]knownHost) []byte {
	b := bytes.NewBufferString(knownHostsHead)
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		fmt.Fprintf(b, "%s %s %s\n", name, hosts[name].pin, hosts[name].since.Format(time.DateOnly))
	}
	return b.Bytes()
}
