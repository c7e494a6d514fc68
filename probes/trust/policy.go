package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/nrprobe/nrprobe/probes"
)

// Policy says how the near end verifies the far end's certificate. At most one of its fields is set; with none, the
// system's authorities decide. It is safe for concurrent use.
type Policy struct {
	// Pin is the only certificate that is accepted, as Pin writes it.
	Pin string
	// CAFile names a PEM file with the authorities that are accepted. The far end's own certificate may be one of them.
	CAFile string
	// Insecure accepts every certificate.
	Insecure bool
	// Known accepts the certificate that was remembered for a host and port, and remembers it on first use.
	Known *KnownHosts
}

// Config returns a configuration of TLS 1.3 that verifies the target by the policy; the caller may change it. Whatever
// is wrong with the policy or the files behind it, or later with the certificate, is a Failure of outcome auth.
func (p Policy) Config(t probes.Target) (*tls.Config, error) {
	if n := count(p.Pin != "", p.CAFile != "", p.Insecure, p.Known != nil); n > 1 {
		return nil, probes.Fail(probes.Auth, "verifying %s: a pin, a CA file, insecure and known hosts exclude each other: keep one", t.Address())
	}
	c := &tls.Config{ServerName: t.Host, MinVersion: tls.VersionTLS13}
	switch {
	case p.Pin != "":
		want, err := ParsePin(p.Pin)
		if err != nil {
			return nil, &probes.Failure{Outcome: probes.Auth, Err: err}
		}
		verifyWith(c, func(got string) error { return checkPin(t, want, got) })
	case p.CAFile != "":
		pool, err := loadPool(p.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	case p.Insecure:
		c.InsecureSkipVerify = true
	case p.Known != nil:
		if err := p.Known.Check(); err != nil {
			return nil, err
		}
		verifyWith(c, func(got string) error { return p.Known.Trust(t, got) })
	}
	return c, nil
}

// TLS is Config in the form that probes.Env wants: an error of the policy itself shows in the handshake, which then
// fails with it and verifies nothing.
func (p Policy) TLS(t probes.Target) *tls.Config {
	c, err := p.Config(t)
	if err != nil {
		c = &tls.Config{ServerName: t.Host, MinVersion: tls.VersionTLS13}
		verifyWith(c, func(string) error { return err })
	}
	return c
}

// verifyWith replaces the verification by authorities. VerifyConnection is asked in resumed sessions too, where
// VerifyPeerCertificate is not.
func verifyWith(c *tls.Config, verify func(pin string) error) {
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return probes.Fail(probes.Auth, "the far end showed no certificate")
		}
		return verify(Pin(state.PeerCertificates[0].Raw))
	}
}

func checkPin(t probes.Target, want, got string) error {
	if got == want {
		return nil
	}
	return probes.Fail(probes.Auth, "certificate of %s has the pin %s, not %s: if the far end was set up anew, use the new pin, otherwise somebody answers in its place", t.Address(), got, want)
}

// maxCAFile is more than all public authorities together take.
const maxCAFile = 4 << 20

func loadPool(path string) (*x509.CertPool, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxCAFile {
		err = errors.New("the file is too large to be a list of authorities")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, probes.Fail(probes.Auth, "reading authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, probes.Fail(probes.Auth, "reading authorities: %s holds no certificate in PEM form", path)
	}
	return pool, nil
}

func count(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}
