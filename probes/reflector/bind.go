package reflector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/nrprobe/nrprobe/probes/farend"
)

// Addrs is where a reflector listens, with the ports that were chosen where 0 was asked for.
type Addrs struct{ STAMP, Streams, TLS, QUIC, Iperf3 []net.Addr }

// sockets is everything that Run opens before it serves anything.
type sockets struct {
	stamp, quic  []net.PacketConn
	streams, tls []net.Listener
	iperf3       []farend.Server
	all          []io.Closer
}

func (s *sockets) close() {
	for _, c := range s.all {
		_ = c.Close() // closed before, or about to be forgotten
	}
}

func (s *sockets) addrs() Addrs {
	var a Addrs
	for _, pc := range s.stamp {
		a.STAMP = append(a.STAMP, pc.LocalAddr())
	}
	for _, l := range s.streams {
		a.Streams = append(a.Streams, l.Addr())
	}
	for _, l := range s.tls {
		a.TLS = append(a.TLS, l.Addr())
	}
	for _, pc := range s.quic {
		a.QUIC = append(a.QUIC, pc.LocalAddr())
	}
	for _, server := range s.iperf3 {
		a.Iperf3 = append(a.Iperf3, server.Addr())
	}
	return a
}

// bind opens every port, or none and says what is wrong with each.
func (r *Reflector) bind(ctx context.Context) (*sockets, error) {
	s := &sockets{}
	var errs []error
	for _, p := range r.config.ports() {
		if p.key == "stamp" && r.services.packets == nil || p.key == "iperf3" && r.services.iperf3 == nil {
			continue
		}
		denied := errors.New("")
		for _, address := range p.listen.Addresses {
			err := r.bindOne(ctx, s, p, address)
			switch {
			case err == nil:
			case p.key == "stamp" && errors.Is(err, syscall.EACCES) && len(p.listen.Addresses) > 1:
				// 862 is for the privileged; there is 8620 for the others.
				r.log.Info("not listening on a port that needs privilege", "listen", address, "remedy", "run as root or grant CAP_NET_BIND_SERVICE if it is wanted")
				denied = err
			default:
				errs = append(errs, err)
			}
		}
		if p.key == "stamp" && len(s.stamp) == 0 && len(errs) == 0 && len(p.listen.Addresses) > 0 {
			errs = append(errs, denied)
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (r *Reflector) bindOne(ctx context.Context, s *sockets, p port, address string) error {
	if p.key == "iperf3" {
		server, err := r.services.iperf3(ctx, r.net, address)
		if err != nil {
			return explain(p, address, err)
		}
		s.all, s.iperf3 = append(s.all, server), append(s.iperf3, server)
		return nil
	}
	if p.network == "udp" {
		pc, err := r.net.ListenPacket(ctx, p.network, address)
		if err != nil {
			return explain(p, address, err)
		}
		s.all = append(s.all, pc)
		if p.key == "stamp" {
			s.stamp = append(s.stamp, pc)
		} else {
			s.quic = append(s.quic, pc)
		}
		return nil
	}
	l, err := r.net.Listen(ctx, p.network, address)
	if err != nil {
		return explain(p, address, err)
	}
	s.all = append(s.all, l)
	if p.key == "streams" {
		s.streams = append(s.streams, l)
	} else {
		s.tls = append(s.tls, l)
	}
	return nil
}

// explain says which port could not be opened, and where another is chosen.
func explain(p port, address string, err error) error {
	where := fmt.Sprintf("listening on %s %s for %s", p.network, address, p.key)
	setting := p.key + ".listen in the configuration file (-c)"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: the port is in use: stop what uses it, or choose another with %s: %w", where, setting, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: ports below 1024 need root or CAP_NET_BIND_SERVICE: choose another with %s: %w", where, setting, err)
	default:
		return fmt.Errorf("%s, as set by %s: %w", where, setting, err)
	}
}
