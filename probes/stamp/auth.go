package stamp

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/nrprobe/nrprobe/probes/farend"
)

// hmacSize is the length of HMAC-SHA-256 truncated to 128 bits (RFC 8762 section 4.4).
const hmacSize = 16

// signer makes and checks message authentication codes. It is not safe for concurrent use; each goroutine has its own.
// The nil signer stands for the unauthenticated mode.
type signer struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// newSigner returns nil for an empty secret.
func newSigner(secret []byte) (*signer, error) {
	switch {
	case len(secret) == 0:
		return nil, nil
	case len(secret) < farend.MinKey:
		return nil, fmt.Errorf("key has %d bytes: STAMP needs %d or more", len(secret), farend.MinKey)
	}
	return &signer{mac: hmac.New(sha256.New, secret)}, nil
}

// mode is the layout that packets have with this signer.
func (s *signer) mode() mode {
	if s == nil {
		return unauthenticated
	}
	return authenticated
}

// code computes the truncated code over both parts, valid until the next call.
func (s *signer) code(a, b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(a)
	s.mac.Write(b)
	return s.mac.Sum(s.sum[:0])[:hmacSize]
}

// signBase writes the code of a base packet, over its first six blocks of 16 octets.
func (s *signer) signBase(packet []byte) {
	const at = baseSizeAuth - hmacSize
	copy(packet[at:], s.code(packet[:at], nil))
}

// checkBase says, in constant time, whether the code of a base packet is right.
func (s *signer) checkBase(packet []byte) bool {
	const at = baseSizeAuth - hmacSize
	return len(packet) >= baseSizeAuth && hmac.Equal(packet[at:baseSizeAuth], s.code(packet[:at], nil))
}

// signTLVs writes the code into the HMAC TLV: over the sequence number of the base packet and all TLVs before it
// (RFC 8972 section 4.8).
func (s *signer) signTLVs(packet, preceding []byte, t tlv) {
	copy(t.value(), s.code(packet[:4], preceding))
}

// checkTLVs says, in constant time, whether the code in the HMAC TLV is right.
func (s *signer) checkTLVs(packet, preceding []byte, t tlv) bool {
	return hmac.Equal(t.value(), s.code(packet[:4], preceding))
}
