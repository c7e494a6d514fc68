package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoadOrCreateKeepsOneCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	first, err := LoadOrCreate(dir, "reflector.example", "192.0.2.1", "2001:db8::1", "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreate(dir, "other.example")
	if err != nil {
		t.Fatal(err)
	}
	if Pin(first.Certificate[0]) != Pin(again.Certificate[0]) {
		t.Error("the second start made another certificate")
	}
	leaf, err := x509.ParseCertificate(first.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reflector.example", "192.0.2.1", "2001:db8::1"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key is a %T", leaf.PublicKey)
	}
	if leaf.IsCA || len(leaf.DNSNames) != 1 || len(leaf.IPAddresses) != 2 {
		t.Errorf("IsCA %v, names %v, addresses %v", leaf.IsCA, leaf.DNSNames, leaf.IPAddresses)
	}
	for name, want := range map[string]os.FileMode{KeyFile: 0o600, CertificateFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("folder holds %v", files)
	}
}

func TestCertificateIsValidForTenYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where the clock begins in the year 2000, as on a device that was never set
		c := template(time.Now(), nil)
		if want := time.Date(2025, time.December, 31, 0, 0, 0, 0, time.UTC); !c.NotBefore.Equal(want) {
			t.Errorf("valid from %v, want %v", c.NotBefore, want)
		}
		now := time.Date(2030, time.May, 1, 0, 0, 0, 0, time.UTC)
		if c := template(now, nil); !c.NotAfter.Equal(now.Add(3650 * 24 * time.Hour)) {
			t.Errorf("valid until %v", c.NotAfter)
		}
	})
}

func TestLoadOrCreateAfterACrash(t *testing.T) {
	dir := t.TempDir()
	if err := createKey(dir, filepath.Join(dir, KeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(dir); err != nil {
		t.Errorf("with a key alone: %v", err)
	}
}

func TestLoadOrCreateErrors(t *testing.T) {
	made := t.TempDir()
	if _, err := LoadOrCreate(made); err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(filepath.Join(made, CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := createKey(other, filepath.Join(other, KeyFile)); err != nil {
		t.Fatal(err)
	}
	otherKey, err := os.ReadFile(filepath.Join(other, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ cert, key, want string }{
		"no key":        {string(cert), "", "has no key beside it: restore key.pem, or delete the certificate"},
		"other key":     {string(cert), string(otherKey), "private key does not match public key"},
		"rubbish":       {"rubbish", "rubbish", "failed to find any PEM data"},
		"rubbish key":   {"", "rubbish", "holds no key in PEM form: delete it to have a new one made"},
		"bad key":       {"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "delete it to have a new one made"},
		"not ours, RSA": {"", rsaKey, "where an ECDSA key is wanted"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{CertificateFile: test.cert, KeyFile: test.key} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := LoadOrCreate(dir)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want %s and the folder", err, test.want)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(filepath.Join(file, "sub")); err == nil {
		t.Error("a file in place of the folder: no error")
	}
}

func TestParsePin(t *testing.T) {
	want := Pin([]byte("certificate"))
	openssl := "sha256:"
	for i, digit := range strings.ToUpper(strings.TrimPrefix(want, "sha256:")) {
		if i > 0 && i%2 == 0 {
			openssl += ":"
		}
		openssl += string(digit)
	}
	for _, text := range []string{want, strings.ToUpper(want), openssl} {
		if got, err := ParsePin(text); err != nil || got != want {
			t.Errorf("ParsePin(%s) = %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "sha256:", want[7:], want + "0", "sha1:" + want[7:], "sha256:" + strings.Repeat("g", 64), want[:40] + ":" + want[40:]} {
		if got, err := ParsePin(text); err == nil {
			t.Errorf("ParsePin(%q) = %s", text, got)
		}
	}
}

// rsaKey protects nothing: it was made for this test.
const rsaKey = `-----BEGIN PRIVATE KEY-----
MIICeQIBADANBgkqhkiG9w0BAQEFAASCAmMwggJfAgEAAoGBALqPjO8JthIVvDeC
L5BClZr7JEdrc+xXIqJV36hOvAnk1WKm5v0v8SrxDZwqiesR3MQMTRldorC0pDOC
K7PcAhVJrmhEQIXqGXK1HZGysA213dDk3iSk6qFTxMxLUZSLdZUuMTyi3tXK7m1K
CCZiaP+dVVCUZz0SRA/sAe3JoNCVAgMBAAECgYEAoQYCCNgC9H0aJXcSgptV8ZzO
5W4TcmyLEj64etbqake+/hU8zk+xAvVoX+A/hku2luhfK4OsRoTELUkvW2CL0kTV
0XQIeK995ZRdIMi4XHSQqBg+j6X0zlEvJr9UfEGbEz2K4CeWhzHoJTVhc6mmB4Ku
BgfCgl+JGV8owJGrJAECQQDxXta5hj+B4aBJM3RNhFKFRz9IyvU2FDidxw1XE/cm
FL60apOWBN7Um+j0arkUQI5yU5Q49FrG4CCTR2KoHmeBAkEAxd5Fa6eUqAliMT/V
zv6Km1y37dnj/Md0dapdbrDuYyVGozQhCHn9S9MYf56QDr7Vne8mbBUu/JB4/6vx
4VPTFQJBANDAHSVHHhXOdTnZ7nQ8RMJP5EOohHrI8k5CoR72fYHJ30VaB1pvy+hF
DyyUQI1rZ8co0cCQVRI7NPErg/+yjAECQQCT3hdi7ElbiienRl0x42cR06hgR4Tp
UuTlSfuozPBZh3HSZRKKkx+HmqmkNYrSeiqJbD76ZppGhHDoIEcSbOJBAkEA5tjW
frmTZtJq87pv8KFiRA4iRyeUUgWW+5TaUmtI2fgseAvmA2HhKbUkFY4RWGp8a6w/
mpgf4BQ26RzWISqvYA==
-----END PRIVATE KEY-----
`
