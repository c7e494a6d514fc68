// Package reflector is the far end of every kind of probe: it opens a few ports, keeps limits, and hands what arrives to
// the farend.Service that it is for.
package reflector

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes/farend"
	"github.com/nrprobe/nrprobe/probes/lease"
)

// Config is the reflector's configuration: the keys of reflector.yaml. Start with Defaults.
type Config struct {
	STAMP   STAMP  `yaml:"stamp" help:"UDP, STAMP (RFC 8762)"`
	Streams Listen `yaml:"streams" help:"plain TCP"`
	TLS     Listen `yaml:"tls" help:"TCP, TLS with HTTP/1.1 and HTTP/2"`
	QUIC    Listen `yaml:"quic" help:"UDP, QUIC with HTTP/3 and probes of our own"`
	Iperf3  Listen `yaml:"iperf3" help:"TCP and UDP, for clients of iperf3; closed unless it has an address, such as :5201"`
	// Data, or CertFile and KeyFile, is needed where TLS or QUIC is served.
	Data     string        `yaml:"data" help:"folder in which the certificate and its key are made and kept"`
	CertFile string        `yaml:"cert_file" help:"certificate in PEM form, instead of the one that is made in data"`
	KeyFile  string        `yaml:"key_file" help:"the certificate's key in PEM form"`
	Names    []string      `yaml:"names" help:"host names and addresses that a certificate is made for"`
	Limits   Limits        `yaml:"limits" help:"what one reflector, and one client of it, may take"`
	Leases   lease.Config  `yaml:"leases" help:"which load tests may run at the same time"`
	Grace    time.Duration `yaml:"grace" help:"how long connections may go on after a shutdown was asked for" min:"0s" max:"1m"`
}

// Listen is where one port is opened; an empty list leaves it closed.
type Listen struct {
	Addresses []string `yaml:"listen" help:"addresses with port, like :8620 or 192.0.2.1:8620"`
}

// STAMP is where STAMP is answered, and how. With a key, only senders that have it are answered, on all addresses: whoever
// wants to answer others as well starts a second reflector for them.
type STAMP struct {
	Listen
	Key       string `yaml:"key" help:"secret of the authenticated mode, 16 bytes or more; answers only senders that have it. Better kept in key_file"`
	KeyFile   string `yaml:"key_file" help:"file that holds the secret, which only the reflector's user should be able to read"`
	Stateless bool   `yaml:"stateless" help:"keep no count for each sender: loss then cannot be told apart by direction"`
}

// Limits bound what clients may take. They keep an open reflector useful; they do not replace a firewall.
type Limits struct {
	// Connections counts TCP and QUIC connections together, ClientConnections those of one client: one IPv4 address or
	// one IPv6 /64. Many handsets may share one address behind a carrier's NAT.
	Connections       int `yaml:"connections" help:"connections at once" min:"1" max:"1000000"`
	ClientConnections int `yaml:"client_connections" help:"connections of one client address at once (IPv6: of one /64)" min:"1" max:"1000000"`
	// Duration and Bytes end a connection; bytes of both directions count, above TCP or in UDP.
	Duration time.Duration `yaml:"duration" help:"how long one connection may last" min:"1s" max:"7d"`
	Bytes    unit.Bytes    `yaml:"bytes" help:"what one connection may carry in both directions together" min:"1MB"`
}

// Defaults returns the configuration that nrprobe reflector starts with when it is given none. Data is left to the caller.
func Defaults() Config {
	port := func(n int) string { return ":" + strconv.Itoa(n) }
	return Config{
		STAMP:   STAMP{Listen: Listen{[]string{port(farend.StampWellKnown), port(farend.STAMPPort)}}},
		Streams: Listen{[]string{port(farend.StreamPort)}},
		TLS:     Listen{[]string{port(farend.TLSPort)}},
		QUIC:    Listen{[]string{port(farend.TLSPort)}},
		Limits: Limits{
			Connections: 2000, ClientConnections: 200,
			Duration: 6 * time.Hour, // a continuous probe connects anew a few times a day
			Bytes:    100e9,         // a minute at 10 Gbit/s
		},
		Leases: lease.Defaults(),
		Grace:  3 * time.Second, // longer than a probe's round trips, shorter than systemd's patience
	}
}

// Validate implements configs.Validator. That Data is missing is for New to say: callers have a default for it.
func (c *Config) Validate(r *configs.Report, at configs.At) {
	for _, p := range c.problems() {
		if p.key == "cert_file" && !r.Good(at, "key_file") {
			continue // it compares the two
		}
		r.Problem(at, p.key, p.text)
	}
}

type problem struct{ key, text string }

func (c *Config) problems() []problem {
	var list []problem
	if (c.CertFile == "") != (c.KeyFile == "") {
		list = append(list, problem{"cert_file", "cert_file and key_file go together: give both or neither"})
	}
	switch n := len(c.STAMP.Key); {
	case n > 0 && c.STAMP.KeyFile != "":
		list = append(list, problem{"stamp", "key and key_file are both given: keep one"})
	case n > 0 && n < farend.MinKey:
		list = append(list, problem{"stamp", fmt.Sprintf("the key has %d bytes: STAMP needs %d or more, such as openssl rand -hex 16 gives", n, farend.MinKey)})
	}
	for _, p := range c.ports() {
		for _, address := range p.listen.Addresses {
			if err := checkAddress(address); err != nil {
				list = append(list, problem{p.key, err.Error()})
			}
		}
	}
	if len(c.STAMP.Addresses)+len(c.Streams.Addresses)+len(c.TLS.Addresses)+len(c.QUIC.Addresses)+len(c.Iperf3.Addresses) == 0 {
		list = append(list, problem{"", "nothing to listen on: give stamp, streams, tls, quic or iperf3 an address"})
	}
	return list
}

// check is problems as one error, for whoever made the configuration without a file.
func (c *Config) check() error {
	var errs []error
	for _, p := range c.problems() {
		if p.key != "" {
			p.text = p.key + ": " + p.text
		}
		errs = append(errs, errors.New(p.text))
	}
	if c.CertFile == "" && c.Data == "" && len(c.TLS.Addresses)+len(c.QUIC.Addresses) > 0 {
		errs = append(errs, errors.New("data: TLS and QUIC need a certificate: name a folder to keep one in, or cert_file and key_file"))
	}
	return errors.Join(errs...)
}

// port is one of the things that are listened on.
type port struct {
	key, network string
	listen       Listen
}

func (c *Config) ports() []port {
	return []port{{"stamp", "udp", c.STAMP.Listen}, {"streams", "tcp", c.Streams}, {"tls", "tcp", c.TLS}, {"quic", "udp", c.QUIC}, {"iperf3", "tcp and udp", c.Iperf3}}
}

func checkAddress(address string) error {
	_, portText, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address to listen on: write it like :8620 or 192.0.2.1:8620", address)
	}
	if _, err := strconv.ParseUint(portText, 10, 16); err != nil {
		return fmt.Errorf("%q is not an address to listen on: want a port from 0 to 65535", address)
	}
	return nil
}
