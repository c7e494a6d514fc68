package stamp

import "testing"

// TestTemplateFitsEverySize lays packets of all sizes out: the TLVs fill each one to the end, unless less than a TLV is
// left, and what is protected stays valid.
func TestTemplateFitsEverySize(t *testing.T) {
	for _, key := range []string{"", "0123456789abcdef"} {
		sign, err := newSigner([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		base := sign.mode().base()
		for size := base; size < base+300; size++ {
			template := newTemplate(&Config{Size: size, TLVs: true, DSCP: 46}, sign, 1, newRandom())
			template.prepare(7)
			packet := template.depart(1)
			if len(packet) != size {
				t.Fatalf("size %d: packet has %d bytes", size, len(packet))
			}
			rest := packet[base:]
			for len(rest) >= tlvHeader {
				v, next, ok := cutTLV(rest)
				if !ok || !v.validLength() || v.flags() != flagUnrecognized {
					t.Fatalf("size %d: TLV % x", size, v)
				}
				rest = next
			}
			if len(rest) > 0 && size >= base+tlvHeader {
				t.Errorf("size %d: %d bytes behind the last TLV", size, len(rest))
			}
			code, preceding, found, placed, needed := findHMAC(packet[base:])
			if sign != nil && needed && (!found || !placed || !sign.checkTLVs(packet, preceding, code)) {
				t.Errorf("size %d: the TLVs are not protected", size)
			}
		}
	}
}
