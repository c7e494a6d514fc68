package reflector

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/quic"
	"github.com/nrprobe/nrprobe/probes/tcp"
	"github.com/nrprobe/nrprobe/probes/trust"
)

func TestPortsThatCannotBeOpened(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	config := onLoopback(t)
	config.Streams.Addresses = []string{busy.Addr().String()}
	config.TLS.Addresses = []string{"192.0.2.1:8443"}
	r, err := New(config, realNetwork(t), slog.New(slog.DiscardHandler), farEnds()...)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Run(t.Context())
	for _, want := range []string{
		"listening on tcp " + busy.Addr().String() + " for streams: the port is in use: stop what uses it, or choose another with streams.listen in the configuration file (-c)",
		"listening on tcp 192.0.2.1:8443 for tls, as set by tls.listen in the configuration file (-c): ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// denying is a network that has no privileged ports.
type denying struct{ probes.Network }

func (d denying) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if strings.HasSuffix(address, ":862") {
		return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EACCES}
	}
	return d.Network.ListenPacket(ctx, network, address)
}

func TestPrivilegedPortIsOptional(t *testing.T) {
	config := onLoopback(t)
	config.STAMP.Addresses = []string{"127.0.0.1:862", "127.0.0.1:0"}
	r, stop := start(t, config, denying{realNetwork(t)})
	if len(r.Addrs().STAMP) != 1 {
		t.Errorf("STAMP on %v", r.Addrs().STAMP)
	}
	stop()
	for _, addresses := range [][]string{{"127.0.0.1:862"}, {"127.0.0.1:862", "[::1]:862"}} {
		config.STAMP.Addresses = addresses
		r, err := New(config, denying{realNetwork(t)}, slog.New(slog.DiscardHandler), farEnds()...)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "need root or CAP_NET_BIND_SERVICE: choose another with stamp.listen in the configuration file (-c)") {
			t.Errorf("%v: %v", addresses, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for want, list := range map[string][]farend.Service{
		`service b wants the STAMP port, which another has`:       {{Name: "a", Packets: packets}, {Name: "b", Packets: packets}},
		`service tcp wants "nrpECHO1", which another has`:         {tcp.FarEnd(log), tcp.FarEnd(log)},
		`service quic wants "nrprobe/1", which another has`:       {quic.FarEnd(log), quic.FarEnd(log)},
		`service a: preamble "short" has not 8 bytes`:             {{Name: "a", Streams: map[string]func(context.Context, net.Conn) error{"short": nil}}},
		`service b wants "/x", which another has`:                 {{Name: "a", HTTP: map[string]http.Handler{"/x": nil}}, {Name: "b", HTTP: map[string]http.Handler{"/x": nil}}},
		`reflector: reading certificate none.pem with key no.pem`: nil,
	} {
		config := onLoopback(t)
		if list == nil {
			config.CertFile, config.KeyFile = "none.pem", "no.pem"
		}
		if _, err := New(config, realNetwork(t), log, list...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestConfigProblems(t *testing.T) {
	c := Defaults()
	err := configs.Load("reflector.yaml", []byte(`cert_file: a.pem
stamp: {listen: [":862", "nine"]}
quic: {listen: [":99999"]}
limits: {connections: 0}
`), nil, &c)
	want := `reflector.yaml:1: cert_file: cert_file and key_file go together: give both or neither
reflector.yaml:2: stamp: "nine" is not an address to listen on: write it like :8620 or 192.0.2.1:8620
reflector.yaml:3: quic: ":99999" is not an address to listen on: want a port from 0 to 65535
reflector.yaml:4: limits.connections: 0 is below the minimum of 1`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	c = Defaults()
	err = configs.Load("reflector.yaml", []byte("cert_file: a.pem\nkey_file: \"${NOWHERE}\"\n"), func(string) (string, bool) { return "", false }, &c)
	want = "reflector.yaml:2: key_file: environment variable NOWHERE is not set"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := New(Config{}, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "nothing to listen on") {
		t.Errorf("an empty configuration: %v", err)
	}
	if _, err := New(Defaults(), nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "data: TLS and QUIC need a certificate") {
		t.Errorf("no certificate: %v", err)
	}
}

func TestClients(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1/32", "[::ffff:192.0.2.1]:5": "192.0.2.1/32", "[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64",
	} {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := clientOf(addr).String(); got != want {
			t.Errorf("%s is client %s, want %s", address, got, want)
		}
	}
	if got := clientOf(&net.UnixAddr{Name: "x"}); got.IsValid() {
		t.Errorf("no address is client %s", got)
	}
}

func TestPinIsThatOfTheCertificate(t *testing.T) {
	config := onLoopback(t)
	r, err := New(config, realNetwork(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(config.Data+"/"+trust.CertificateFile, config.Data+"/"+trust.KeyFile)
	if err != nil || r.Pin() != trust.Pin(cert.Certificate[0]) {
		t.Errorf("%s, %v", r.Pin(), err)
	}
	config.TLS, config.QUIC = Listen{}, Listen{}
	if r, err := New(config, realNetwork(t), slog.New(slog.DiscardHandler)); err != nil || r.Pin() != "" {
		t.Errorf("without TLS: %v", err)
	}
}
