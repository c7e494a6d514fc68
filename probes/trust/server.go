package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The files that LoadOrCreate keeps in its folder. The certificate may be handed to anybody, for instance as --ca.
const (
	CertificateFile = "certificate.pem"
	KeyFile         = "key.pem"
)

// lifetime of a certificate that we make. Clients pin it or remember it, and a change costs a visit to each of them.
const lifetime = 10 * 365 * 24 * time.Hour

// epoch is older than any nrprobe. A device whose clock was never set makes a certificate that is valid from here on.
var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// LoadOrCreate returns the certificate kept in the folder, and makes one on first use: self-signed, ECDSA P-256, valid
// for ten years, for the given host names and addresses. One that exists is never replaced, whatever the names, because
// clients have pinned it; whoever wants a new one deletes both files. The key's file has mode 0600; each file appears
// complete or not at all.
func LoadOrCreate(dir string, names ...string) (tls.Certificate, error) {
	certFile, keyFile := filepath.Join(dir, CertificateFile), filepath.Join(dir, KeyFile)
	haveCert, err := exists(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("looking for a certificate: %w", err)
	}
	haveKey, err := exists(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("looking for a certificate's key: %w", err)
	}
	switch {
	case haveCert && haveKey:
		return Load(certFile, keyFile)
	case haveCert:
		return tls.Certificate{}, fmt.Errorf("%s has no key beside it: restore %s, or delete the certificate to have a new pair made", certFile, KeyFile)
	case !haveKey: // a key alone is what a crash between the two writes leaves behind; it is as good as a new one
		if err := createKey(dir, keyFile); err != nil {
			return tls.Certificate{}, fmt.Errorf("making a key for the certificate: %w", err)
		}
	}
	if err := createCertificate(certFile, keyFile, names); err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return Load(certFile, keyFile)
}

// Load reads a certificate with its chain and its key from PEM files.
func Load(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return cert, nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func createKey(dir, keyFile string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func createCertificate(certFile, keyFile string, names []string) error {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s holds no key in PEM form: delete it to have a new one made", keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w: delete it to have a new one made", keyFile, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s holds a %T where an ECDSA key is wanted: delete it to have a new one made", keyFile, parsed)
	}
	template := template(time.Now(), names)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	return writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// template describes the certificate. It is no authority: a client that is given it as --ca trusts it alone.
func template(now time.Time, names []string) *x509.Certificate {
	if now.Before(epoch) {
		now = epoch
	}
	c := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(randomBytes(16)),
		Subject:      pkix.Name{CommonName: "nrprobe reflector"},
		NotBefore:    now.Add(-24 * time.Hour), // clients' clocks differ
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if name != "" {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

// randomBytes has its first bit clear, so that a serial number made of it is positive (RFC 5280 section 4.1.2.2).
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, crypto/rand says
	b[0] &= 0x7f
	return b
}

// writeFile writes a file that appears complete or not at all, even if the power fails.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // nothing is left to remove when all went well
	if _, err = f.Write(content); err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
