package dns

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// server answers queries, on every transport alike. It returns nil to say nothing.
type server func(query []byte) []byte

// zone knows example.com by two addresses of version 4, one of version 6 behind an alias, and a text.
func zone(query []byte) []byte { return packed(zoneMessage(query)) }

func zoneMessage(query []byte) *dnsmessage.Message {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
	switch {
	case !strings.EqualFold(q.Name.String(), "example.com."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{
			{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}},
			{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 8}}},
		}
	case q.Type == dnsmessage.TypeAAAA:
		alias := header
		alias.Type = dnsmessage.TypeCNAME
		header.Name = dnsmessage.MustNewName("www.example.com.")
		m.Answers = []dnsmessage.Resource{
			{Header: alias, Body: &dnsmessage.CNAMEResource{CNAME: header.Name}},
			{Header: header, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::7").As16()}},
		}
	case q.Type == dnsmessage.TypeTXT:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.TXTResource{TXT: []string{"hello"}}}}
	}
	return &m
}

func packed(m *dnsmessage.Message) []byte {
	if m == nil {
		return nil
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// changed is zone with its answers changed.
func changed(change func(*dnsmessage.Message)) server {
	return func(query []byte) []byte {
		m := zoneMessage(query)
		change(m)
		return packed(m)
	}
}

// serve answers on all ports of DNS.
func (s server) serve(ctx context.Context, network probes.Network) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	udp, err := network.ListenPacket(ctx, "udp", ":53")
	if err != nil {
		return err
	}
	quic, err := network.ListenPacket(ctx, "udp", ":853")
	if err != nil {
		return errors.Join(err, udp.Close())
	}
	conf := probetest.ServerTLS()
	conf.NextProtos = []string{"doq"}
	transport := &quicgo.Transport{Conn: quic}
	ql, err := transport.Listen(conf, nil)
	if err != nil {
		return errors.Join(err, quic.Close(), udp.Close())
	}
	var listeners []net.Listener
	for _, port := range []string{":53", ":853", ":443"} {
		l, err := network.Listen(ctx, "tcp", port)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	conf = probetest.ServerTLS()
	conf.NextProtos = []string{"dot"}
	web := &http.Server{
		Handler: http.HandlerFunc(s.serveHTTP), TLSConfig: probetest.ServerTLS(), ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	wg.Go(func() { s.servePackets(udp) })
	wg.Go(func() { s.serveStreams(listeners[0]) })
	wg.Go(func() { s.serveStreams(tls.NewListener(listeners[1], conf)) })
	wg.Go(func() { _ = web.ServeTLS(listeners[2], "", "") })
	wg.Go(func() { s.serveQUIC(ctx, ql) })
	<-ctx.Done()
	return errors.Join(udp.Close(), listeners[0].Close(), listeners[1].Close(), web.Close(), ql.Close(), transport.Close(), quic.Close())
}

func (s server) servePackets(pc net.PacketConn) {
	b := make([]byte, 65536)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		if answer := s(b[:n]); answer != nil {
			_, _ = pc.WriteTo(answer, from)
		}
	}
}

func (s server) serveStreams(l net.Listener) {
	probetest.Accept(l, func(c net.Conn) {
		for s.serveStream(c) == nil {
		}
	})
}

func (s server) serveStream(c io.ReadWriter) error {
	query, err := readFramed(c)
	if err != nil {
		return err
	}
	if answer := s(query); answer != nil {
		_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
	return err
}

func (s server) serveQUIC(ctx context.Context, l *quicgo.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return
		}
		wg.Go(func() {
			for {
				stream, err := c.AcceptStream(ctx)
				if err != nil {
					return
				}
				_ = s.serveStream(stream)
			}
		})
	}
}

func (s server) serveHTTP(w http.ResponseWriter, req *http.Request) {
	query, err := io.ReadAll(req.Body)
	if err != nil || req.URL.Path != "/dns-query" || req.Header.Get("Content-Type") != mediaType || req.ProtoMajor != 2 {
		http.NotFound(w, req)
		return
	}
	answer := s(query)
	if answer == nil {
		<-req.Context().Done()
		return
	}
	w.Header().Set("Content-Type", mediaType)
	_, _ = w.Write(answer)
}
