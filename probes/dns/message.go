package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// payloadSize is the largest UDP answer that is asked for (RFC 6891 section 6.2.5): it fits into one packet on any path
// that carries IPv6.
const payloadSize = 1232

// maxMessage is the longest message that a stream can carry, as its length is 16 bits (RFC 1035 section 4.2.2).
const maxMessage = 65535

// question is one query. Its identifier is 0 where the transport tells answers apart (RFC 8484 section 4.1, RFC 9250
// section 4.2.1).
type question struct {
	id   uint16
	name dnsmessage.Name
	kind dnsmessage.Type
}

// query packs a question, with recursion desired.
func query(q question) ([]byte, error) {
	var opt dnsmessage.ResourceHeader
	if err := opt.SetEDNS0(payloadSize, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: q.id, RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: q.name, Type: q.kind, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}},
	}
	return m.Pack()
}

// response is what an answer says.
type response struct {
	code      dnsmessage.RCode
	truncated bool
	records   int // of the type that was asked for
	addresses []netip.Addr
}

// errOther says that a message is not the answer to the question.
var errOther = errors.New("it is not an answer to what was asked")

// read reads a message that should be the answer to the question.
func (q question) read(message []byte) (response, error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return response{}, err
	}
	if !h.Response || h.OpCode != 0 || h.ID != q.id {
		return response{}, errOther
	}
	r := response{code: h.RCode, truncated: h.Truncated}
	if err := q.repeated(&p, h.RCode); err != nil {
		return response{}, err
	}
	if err := r.answers(&p, q.kind); err != nil {
		return response{}, err
	}
	err = p.SkipAllAuthorities()
	if err == nil {
		err = r.additionals(&p)
	}
	if err != nil && !r.truncated {
		return response{}, err
	}
	return r, nil
}

// repeated holds the question in the answer against the one that was asked. Servers that refuse may leave it away.
func (q question) repeated(p *dnsmessage.Parser, code dnsmessage.RCode) error {
	got, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) && code != dnsmessage.RCodeSuccess {
		return nil
	}
	if errors.Is(err, dnsmessage.ErrSectionDone) {
		return errOther
	}
	if err != nil {
		return err
	}
	if got.Type != q.kind || got.Class != dnsmessage.ClassINET || !strings.EqualFold(got.Name.String(), q.name.String()) {
		return errOther
	}
	return p.SkipAllQuestions()
}

// answers reads the records of the answer section, those behind an alias included.
func (r *response) answers(p *dnsmessage.Parser, kind dnsmessage.Type) error {
	for {
		h, err := p.AnswerHeader()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return nil
		case err != nil:
			return err
		case h.Type != kind || h.Class != dnsmessage.ClassINET:
			err = p.SkipAnswer()
		case h.Type == dnsmessage.TypeA:
			var a dnsmessage.AResource
			a, err = p.AResource()
			r.addresses = append(r.addresses, netip.AddrFrom4(a.A))
			r.records++
		case h.Type == dnsmessage.TypeAAAA:
			var a dnsmessage.AAAAResource
			a, err = p.AAAAResource()
			r.addresses = append(r.addresses, netip.AddrFrom16(a.AAAA))
			r.records++
		default:
			err = p.SkipAnswer()
			r.records++
		}
		if err != nil {
			return err
		}
	}
}

// additionals finds the upper bits of the response code (RFC 6891 section 6.1.3).
func (r *response) additionals(p *dnsmessage.Parser) error {
	for {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type == dnsmessage.TypeOPT {
			r.code = h.ExtendedRCode(r.code)
		}
		if err := p.SkipAdditional(); err != nil {
			return err
		}
	}
}

// codeText names a response code as the registry of the IANA does.
func codeText(code dnsmessage.RCode) string {
	if names := [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}; int(code) < len(names) {
		return names[code]
	}
	return "RCODE" + strconv.Itoa(int(code))
}

// String says what came, for an error.
func (r response) String() string {
	switch {
	case r.truncated && r.records == 0:
		return codeText(r.code) + " and an answer that was cut short: ask over tcp"
	case len(r.addresses) > 0:
		return fmt.Sprintf("%s and %v", codeText(r.code), r.addresses)
	default:
		return fmt.Sprintf("%s and %d records of the type", codeText(r.code), r.records)
	}
}
