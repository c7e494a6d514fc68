package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const pinPrefix = "sha256:"

// Pin is the fingerprint of a certificate in DER form (tls.Certificate.Certificate[0], x509.Certificate.Raw):
// "sha256:" and 64 hexadecimal digits, the SHA-256 that openssl x509 -fingerprint prints too.
func Pin(der []byte) string {
	sum := sha256.Sum256(der)
	return pinPrefix + hex.EncodeToString(sum[:])
}

// ParsePin reads a pin as Pin writes it, or with capital digits and colons between the bytes as openssl writes it, and
// returns it as Pin does.
func ParsePin(text string) (string, error) {
	digits, ok := strings.CutPrefix(strings.ToLower(text), pinPrefix)
	if ok && len(digits) == 3*sha256.Size-1 {
		digits = strings.ReplaceAll(digits, ":", "")
	}
	if sum, err := hex.DecodeString(digits); !ok || err != nil || len(sum) != sha256.Size {
		return "", fmt.Errorf("%q is not a pin: want sha256: and 64 hexadecimal digits, as nrprobe reflector prints it when it starts", text)
	}
	return pinPrefix + digits, nil
}
