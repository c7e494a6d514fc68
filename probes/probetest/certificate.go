package probetest

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// FarName is the host name of the far end in every test of the suite. Its addresses are FarAddress4 and FarAddress6.
const (
	FarName     = "far.example"
	FarAddress4 = "192.0.2.1"
	FarAddress6 = "2001:db8::1"
)

// Certificate is what the far end shows in tests: the same one each time, self-signed, for FarName and its addresses and
// for localhost, valid at the time of a synctest bubble and at present. It panics when crypto/x509 refuses to make it.
func Certificate() tls.Certificate {
	seed := make([]byte, ed25519.SeedSize) // zero: no secret, and no secret is wanted
	key := ed25519.NewKeyFromSeed(seed)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: FarName},
		DNSNames:    []string{FarName, "localhost"},
		IPAddresses: []net.IP{net.ParseIP(FarAddress4), net.ParseIP(FarAddress6), net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:   time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:    time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key) // Ed25519 needs no randomness
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// ServerTLS is a far end's configuration with Certificate. The caller adds its ALPN protocols.
func ServerTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{Certificate()}, MinVersion: tls.VersionTLS13}
}

// ClientTLS is a configuration that trusts Certificate and nothing else: what Env.TLS returns.
func ClientTLS(target probes.Target) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(Certificate().Leaf)
	return &tls.Config{RootCAs: pool, ServerName: target.Host, MinVersion: tls.VersionTLS13}
}
