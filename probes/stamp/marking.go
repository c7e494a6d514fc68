package stamp

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/nrprobe/nrprobe/probes"
)

// The words of Config.ECN (RFC 3168 section 5).
const (
	ecnWordNone = "not-ect"
	ecnWordECT0 = "ect0"
	ecnWordECT1 = "ect1"
)

// tos is the type-of-service octet that packets are sent with.
func (c *Config) tos() uint8 {
	mark := uint8(c.DSCP) << 2
	switch c.ECN {
	case ecnWordECT0:
		mark |= ecnECT0
	case ecnWordECT1:
		mark |= ecnECT1
	}
	return mark
}

// setMarking makes a socket send its packets with that type of service.
func setMarking(conn net.Conn, tos uint8) error {
	if tos == 0 {
		return nil
	}
	u, ok := conn.(*net.UDPConn)
	if !ok {
		return errors.New("dscp: this network cannot mark packets")
	}
	var err error
	if addrPort(u.RemoteAddr()).Addr().Is4() {
		err = ipv4.NewConn(u).SetTOS(int(tos))
	} else {
		err = ipv6.NewConn(u).SetTrafficClass(int(tos))
	}
	if err != nil {
		return fmt.Errorf("dscp: marking packets: %w", err)
	}
	return nil
}

// markings is what became of the packets' headers on the way, as far as it is known.
type markings struct {
	up, down       mark
	congestionUp   uint64 // packets that arrived at the far end marked CE, and replies that came back so
	congestionDown uint64
}

// mark is the header of the latest packet of one direction.
type mark struct {
	tos int16 // -1 when unknown
	ttl uint8 // 0 when unknown
}

// see takes in one reply.
func (m *markings) see(p *reply, x *extensions, a *arrived) {
	m.up = mark{tos: x.tos, ttl: p.ttl}
	m.down = mark{tos: a.tos, ttl: a.ttl}
	if x.tos >= 0 && uint8(x.tos)&3 == ecnCE {
		m.congestionUp++
	}
	if a.tos >= 0 && uint8(a.tos)&3 == ecnCE {
		m.congestionDown++
	}
}

// report takes down how the packets of a window were marked.
func (m *markings) report(rec *probes.Recorder, c *Config) {
	noteTTL(rec, "ttl_up", m.up)
	noteTTL(rec, "ttl_down", m.down)
	if sent := c.tos(); sent != 0 {
		rec.Note("marking_sent", markText(int16(sent)))
		rec.Note("marking_up", markText(m.up.tos))
		rec.Note("marking_down", markText(m.down.tos))
		if m.up.tos >= 0 {
			rec.Add(probes.CongestionMarked, probes.Up, float64(m.congestionUp))
		}
		if m.down.tos >= 0 {
			rec.Add(probes.CongestionMarked, probes.Down, float64(m.congestionDown))
		}
	}
	m.congestionUp, m.congestionDown = 0, 0
}

func noteTTL(rec *probes.Recorder, key string, m mark) {
	if m.ttl > 0 {
		rec.Note(key, fmt.Sprint(m.ttl))
	}
}

// markText writes a type of service for a person: "DSCP 46, ECT(0)".
func markText(tos int16) string {
	if tos < 0 {
		return "unknown"
	}
	ecn := [...]string{"not ECT", "ECT(1)", "ECT(0)", "CE"}[tos&3]
	return fmt.Sprintf("DSCP %d, %s", tos>>2, ecn)
}
