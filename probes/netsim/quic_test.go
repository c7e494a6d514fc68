package netsim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
)

// certificate makes a self-signed certificate that is valid in a bubble's time.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"far.example"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"echo"}}
	return server, &tls.Config{RootCAs: pool, ServerName: "far.example", NextProtos: []string{"echo"}}
}

// quicEcho serves streams that come back as they went, on the far host's UDP port 443.
func quicEcho(t *testing.T, far *Host, conf *tls.Config) {
	t.Helper()
	pc, err := far.ListenPacket(t.Context(), "udp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: pc}
	l, err := transport.Listen(conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept(context.Background())
		if err != nil {
			t.Error(err)
			return
		}
		for {
			s, err := conn.AcceptStream(context.Background())
			if err != nil {
				return
			}
			_, _ = io.Copy(s, s)
			_ = s.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		_ = transport.Close()
		_ = pc.Close()
		<-done
	})
}

func TestQUICHandshakeTakesOneRoundTrip(t *testing.T) {
	for _, delay := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			_, edge, far := pair(t, State{Delay: delay}, State{Delay: delay})
			server, client := certificate(t)
			quicEcho(t, far, server)
			pc, err := edge.ListenPacket(t.Context(), "udp", "")
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			transport := &quic.Transport{Conn: pc}
			defer transport.Close()
			start := time.Now()
			conn, err := transport.Dial(t.Context(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:443")), client, nil)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != 2*delay {
				t.Errorf("handshake took %v, want %v", took, 2*delay)
			}
			start = time.Now()
			s, err := conn.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(s, "hello"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 5)
			if _, err := io.ReadFull(s, b); err != nil || string(b) != "hello" || time.Since(start) != 2*delay {
				t.Errorf("after %v: %q, %v", time.Since(start), b, err)
			}
			_ = conn.CloseWithError(0, "")
		})
	}
}

func TestQUICSurvivesRebinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, edge, far := pair(t, State{Delay: 10 * ms}, State{Delay: 10 * ms})
		server, client := certificate(t)
		quicEcho(t, far, server)
		pc, err := edge.ListenPacket(t.Context(), "udp", "")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		transport := &quic.Transport{Conn: pc}
		defer transport.Close()
		conn, err := transport.Dial(t.Context(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:443")), client, nil)
		if err != nil {
			t.Fatal(err)
		}
		edge.RebindAt(time.Second, netip.MustParseAddr("198.51.100.7"))
		s, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		var longer []time.Duration
		for range 20 {
			if _, err := io.WriteString(s, "hello"); err != nil {
				t.Fatal(err)
			}
			_ = s.SetReadDeadline(time.Now().Add(2 * time.Second))
			b := make([]byte, 5)
			start := time.Now()
			if _, err := io.ReadFull(s, b); err != nil || string(b) != "hello" {
				t.Fatalf("at %v: %q, %v", n.Elapsed(), b, err)
			}
			if rtt := time.Since(start); rtt != 20*ms {
				longer = append(longer, rtt)
			}
			time.Sleep(100 * time.Millisecond)
		}
		// The answer to the first data from the new address goes to the old one, and again after the new one is validated.
		if len(longer) != 1 || longer[0] < 40*ms || longer[0] > 200*ms {
			t.Errorf("round trips other than 20 ms: %v, want one that spans the validation of the new address", longer)
		}
	})
}
