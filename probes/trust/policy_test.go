package trust

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// handshake connects two ends over loopback and returns what the client made of it.
func handshake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = l.Close() }()
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		conn := tls.Server(c, server)
		if conn.Handshake() == nil {
			_, _ = conn.Read(make([]byte, 1)) // until the client closes
		}
		_ = c.Close()
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return tls.Client(c, client).HandshakeContext(t.Context())
}

func TestPolicies(t *testing.T) {
	dir, otherDir := t.TempDir(), t.TempDir()
	cert, err := LoadOrCreate(dir, "far.example")
	if err != nil {
		t.Fatal(err)
	}
	other, err := LoadOrCreate(otherDir, "far.example")
	if err != nil {
		t.Fatal(err)
	}
	pin, otherPin := Pin(cert.Certificate[0]), Pin(other.Certificate[0])
	known := NewKnownHosts(filepath.Join(dir, "known_hosts"))
	changed := NewKnownHosts(filepath.Join(otherDir, "known_hosts"))
	if err := changed.Trust(target(t, "far.example"), otherPin); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		policy Policy
		target string
		want   string // "" accepts
	}{
		"pin":          {Policy{Pin: strings.ToUpper(pin)}, "somewhere.example", ""},
		"other pin":    {Policy{Pin: otherPin}, "far.example", "certificate of far.example:8443 has the pin " + pin + ", not " + otherPin},
		"CA":           {Policy{CAFile: filepath.Join(dir, CertificateFile)}, "far.example", ""},
		"CA, name":     {Policy{CAFile: filepath.Join(dir, CertificateFile)}, "near.example", "certificate is valid for far.example, not near.example"},
		"CA, unknown":  {Policy{CAFile: filepath.Join(otherDir, CertificateFile)}, "far.example", "unknown authority"},
		"insecure":     {Policy{Insecure: true}, "192.0.2.1", ""},
		"first use":    {Policy{Known: known}, "far.example", ""},
		"changed":      {Policy{Known: changed}, "far.example", "certificate of far.example:8443 has changed"},
		"system roots": {Policy{}, "far.example", "certificate"},
		"two policies": {Policy{Pin: pin, Insecure: true}, "far.example", "exclude each other: keep one"},
		"bad pin":      {Policy{Pin: "12"}, "far.example", `"12" is not a pin`},
		"no CA file":   {Policy{CAFile: filepath.Join(dir, "none")}, "far.example", "reading authorities: "},
		"no CA":        {Policy{CAFile: filepath.Join(dir, KeyFile)}, "far.example", "holds no certificate in PEM form"},
	} {
		t.Run(name, func(t *testing.T) {
			config := test.policy.TLS(target(t, test.target))
			if config.MinVersion != tls.VersionTLS13 {
				t.Error("TLS below 1.3 is accepted")
			}
			err := handshake(t, &tls.Config{Certificates: []tls.Certificate{cert}}, config)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || probes.Classify(err) != probes.Auth):
				t.Errorf("got %v (%s), want %s", err, probes.Classify(err), test.want)
			}
		})
	}
	if hosts, err := known.read(); err != nil || hosts["far.example:8443"].pin != pin {
		t.Errorf("first use was not remembered: %v, %v", hosts, err)
	}
}

func TestConfigSaysWhatIsWrongWithThePolicy(t *testing.T) {
	huge := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxCAFile+1); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []Policy{{Pin: "x"}, {CAFile: huge}, {Known: NewKnownHosts(t.TempDir())}, {Insecure: true, CAFile: huge}} {
		if _, err := policy.Config(target(t, "far.example")); probes.Classify(err) != probes.Auth {
			t.Errorf("%+v: %v", policy, err)
		}
	}
}

func TestAResumedSessionIsVerifiedToo(t *testing.T) {
	cert, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	config := Policy{Pin: Pin([]byte("another"))}.TLS(target(t, "far.example"))
	err = config.VerifyConnection(tls.ConnectionState{DidResume: true, PeerCertificates: []*x509.Certificate{leaf}})
	if probes.Classify(err) != probes.Auth {
		t.Errorf("got %v", err)
	}
	if err := config.VerifyConnection(tls.ConnectionState{}); probes.Classify(err) != probes.Auth {
		t.Errorf("without a certificate: %v", err)
	}
}
