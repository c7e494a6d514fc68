package dns

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func FuzzRead(f *testing.F) {
	var questions []question
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeTXT, dnsmessage.TypeMX} {
		q := question{id: 7, name: dnsmessage.MustNewName("example.com."), kind: kind}
		asked, err := query(q)
		if err != nil {
			f.Fatal(err)
		}
		questions = append(questions, q)
		f.Add(asked)
		f.Add(zone(asked))
		f.Add(changed(func(m *dnsmessage.Message) { m.Truncated, m.RCode = true, dnsmessage.RCodeServerFailure })(asked))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, q := range questions {
			r, err := q.read(message)
			if err != nil {
				continue
			}
			if binary.BigEndian.Uint16(message) != q.id || message[2]&0x80 == 0 || len(r.addresses) > r.records || r.String() == "" {
				t.Errorf("%x was taken for %+v", message, r)
			}
		}
	})
}

func FuzzReadFramed(f *testing.F) {
	f.Add("\x00\x03abc")
	f.Add("\xff\xffabc")
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, stream string) {
		message, err := readFramed(strings.NewReader(stream))
		if err == nil && !strings.HasPrefix(stream[2:], string(message)) {
			t.Errorf("%q yields %q", stream, message)
		}
	})
}
