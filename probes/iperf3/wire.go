package iperf3

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/nrprobe/nrprobe/probes/farend"
)

// DefaultPort is iperf3's, for TCP and UDP.
const DefaultPort = farend.Iperf3Port

// state is one byte on the control connection.
type state int8

// The states that are in use.
const (
	testStart       state = 1
	testRunning     state = 2
	testEnd         state = 4
	paramExchange   state = 9
	createStreams   state = 10
	serverTerminate state = 11
	clientTerminate state = 12
	exchangeResults state = 13
	displayResults  state = 14
	iperfDone       state = 16
	accessDenied    state = -1
	serverError     state = -2
)

// What a server answers behind serverError, as iperf3 numbers it. The second number is the operating system's error.
const (
	errDuration   = 5
	errStreams    = 6
	errBlockSize  = 7
	errOmit       = 12
	errUnimplemen = 13
)

// cookieSize is 36 characters and a zero.
const cookieSize = 37

type cookie [cookieSize]byte

// newCookie draws a cookie from iperf3's alphabet, which is that of rand.Text in lower case.
func newCookie() (c cookie) {
	copy(c[:cookieSize-1], strings.ToLower(rand.Text()+rand.Text()))
	return c
}

// readCookie accepts what iperf3 draws and nothing else.
func readCookie(r io.Reader) (c cookie, err error) {
	if _, err := io.ReadFull(r, c[:]); err != nil {
		return c, fmt.Errorf("reading the cookie: %w", err)
	}
	for i, b := range c {
		letter := 'a' <= b && b <= 'z' || '2' <= b && b <= '7'
		if letter != (i < cookieSize-1) || i == cookieSize-1 && b != 0 {
			return c, fmt.Errorf("%w: it begins with no cookie", errProtocol)
		}
	}
	return c, nil
}

var errProtocol = errors.New("not the protocol of iperf3")

// maxParams is what iperf3's server reads at most. maxResults holds the results of the most streams many times over, and
// the server's output that some clients ask for.
const (
	maxParams  = 8192
	maxResults = 1 << 20
)

// number is a JSON number, cut to a whole one. Anything else counts as absent, as it does for iperf3.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	switch {
	case err != nil || math.IsNaN(v):
		*n = 0
	case v >= math.MaxInt64:
		*n = math.MaxInt64
	case v <= math.MinInt64:
		*n = math.MinInt64
	default:
		*n = number(v)
	}
	return nil
}

// real is a JSON number; anything else, and what is no finite number of 0 or more, counts as 0.
type real float64

// UnmarshalJSON implements json.Unmarshaler.
func (r *real) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		v = 0
	}
	*r = real(v)
	return nil
}

// truth is JSON's true, or a number other than 0: some of iperf3's switches are written one way, some the other.
type truth bool

// UnmarshalJSON implements json.Unmarshaler.
func (b *truth) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	*b = truth(string(text) == "true" || err == nil && v != 0)
	return nil
}

// word is a JSON string; anything else counts as absent.
type word string

// UnmarshalJSON implements json.Unmarshaler.
func (w *word) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) != nil {
		s = ""
	}
	*w = word(s)
	return nil
}

// params is what the client asks for. Durations are in seconds.
type params struct {
	TCP           truth  `json:"tcp,omitempty"`
	UDP           truth  `json:"udp,omitempty"`
	Omit          number `json:"omit"`
	Time          number `json:"time"`
	Num           number `json:"num"`        // bytes, per test; 0 is off
	BlockCount    number `json:"blockcount"` // blocks, per test; 0 is off
	Parallel      number `json:"parallel"`
	Len           number `json:"len"` // of a write, or of a datagram
	NoDelay       truth  `json:"nodelay,omitempty"`
	Reverse       truth  `json:"reverse,omitempty"`
	Bidirectional truth  `json:"bidirectional,omitempty"`
	// Bandwidth is in bit/s per stream; 0 is no limit.
	Bandwidth   number `json:"bandwidth,omitempty"`
	PacingTimer number `json:"pacing_timer,omitempty"` // microseconds
	Burst       number `json:"burst,omitempty"`
	Congestion  word   `json:"congestion,omitempty"`
	// GetServerOutput and Counters64 are 0 or 1.
	GetServerOutput number `json:"get_server_output,omitempty"`
	Counters64      number `json:"udp_counters_64bit,omitempty"`
	SCTP            truth  `json:"sctp,omitempty"`
	ClientVersion   word   `json:"client_version,omitempty"`
}

// The bounds that iperf3 sets to what a client may ask for; times in seconds, sizes in bytes.
const (
	maxStreams  = 128
	maxOmit     = 600
	maxTime     = 86400
	maxBlock    = 1 << 20
	minDatagram = 16
	maxDatagram = 65507
)

// tcpBlock is what iperf3 writes at once. udpBlock fits every path, tunnels of a mobile network included; iperf3 takes the
// size of a TCP segment.
const (
	tcpBlock = 128 << 10
	udpBlock = 1200
)

// refuse says which of iperf3's errors the parameters deserve; 0 for none. Absent lengths get their defaults.
func (p *params) refuse(limit int64) int32 {
	longest := int64(maxBlock)
	shortest := int64(1)
	if p.UDP {
		shortest, longest = minDatagram, maxDatagram
	}
	if p.Len == 0 && bool(p.UDP) {
		p.Len = udpBlock
	} else if p.Len == 0 {
		p.Len = tcpBlock
	}
	switch {
	case bool(p.SCTP) || p.TCP == p.UDP:
		return errUnimplemen
	case p.Parallel < 1 || p.Parallel > maxStreams:
		return errStreams
	case p.Omit < 0 || p.Omit > maxOmit:
		return errOmit
	case p.Time < 0 || p.Time > maxTime || int64(p.Time+p.Omit) > limit:
		return errDuration
	case int64(p.Len) < shortest || int64(p.Len) > longest:
		return errBlockSize
	case p.Num < 0 || p.BlockCount < 0 || p.Bandwidth < 0:
		return errUnimplemen
	}
	return 0
}

// streams is how many data streams the test has: which of them the client sends on, and how many it receives on.
func (p *params) streams() (up, down int) {
	switch {
	case bool(p.Bidirectional):
		return int(p.Parallel), int(p.Parallel)
	case bool(p.Reverse):
		return 0, int(p.Parallel)
	default:
		return int(p.Parallel), 0
	}
}

// results is what each end says at the end of a test.
type results struct {
	CPUTotal  real `json:"cpu_util_total"`
	CPUUser   real `json:"cpu_util_user"`
	CPUSystem real `json:"cpu_util_system"`
	// HasRetransmits is 1 from a sender that knows, 0 from one that does not, -1 from a receiver.
	HasRetransmits number         `json:"sender_has_retransmits"`
	Congestion     word           `json:"congestion_used,omitempty"`
	Output         word           `json:"server_output_text,omitempty"`
	Streams        []streamResult `json:"streams"`
}

// streamResult is one stream in results. Omitted counts are those of the time that the test leaves out at its start.
type streamResult struct {
	ID             number `json:"id"`
	Bytes          number `json:"bytes"`
	Retransmits    number `json:"retransmits"` // -1 when not known
	Jitter         real   `json:"jitter"`      // seconds, RFC 3550
	Errors         number `json:"errors"`
	OmittedErrors  number `json:"omitted_errors"`
	Packets        number `json:"packets"`
	OmittedPackets number `json:"omitted_packets"`
	Start          real   `json:"start_time"`
	End            real   `json:"end_time"`
}

// find returns the results of one stream.
func (r *results) find(id int) (streamResult, bool) {
	for _, s := range r.Streams {
		if int64(s.ID) == int64(id) {
			return s, true
		}
	}
	return streamResult{}, false
}

// streamID is the id of the i-th stream from 0: iperf3 numbers them 1, 3, 4, 5 and so on.
func streamID(i int) int {
	if i == 0 {
		return 1
	}
	return i + 2
}

// writeJSON writes an object behind its length, with one Write.
func writeJSON(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

// readJSON reads an object of at most limit bytes, and no byte beyond it.
func readJSON(r io.Reader, limit uint32, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > limit {
		return fmt.Errorf("%w: an object of %d bytes, want 1 to %d", errProtocol, n, limit)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("reading an object of %d bytes: %w", n, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return nil
}

func readState(r io.Reader) (state, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return state(b[0]), err
}

func writeState(w io.Writer, s state) error {
	_, err := w.Write([]byte{byte(s)})
	return err
}
