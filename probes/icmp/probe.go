package icmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/client"
)

type probe struct {
	config Config
	env    probes.Env
	target probes.Target
}

// Measure implements probes.Probe.
func (p *probe) Measure(ctx context.Context, r *probes.Recorder) error {
	r.Flag(probes.UserStamps)
	for _, m := range []*probes.Metric{
		probes.PacketsSent, probes.PacketsReceived, probes.PacketsLost, probes.PacketsLate,
		probes.PacketsDuplicated, probes.PacketsReordered, probes.PacketsRefused,
	} {
		r.Add(m, probes.Both, 0)
	}
	resolved, err := client.Resolve(ctx, p.env.Net, r, p.target)
	if err != nil {
		return err
	}
	to := resolved.Addr()
	network, ok := p.env.Net.(probes.ICMPNetwork)
	if !ok {
		return probes.Fail(probes.Error, "ICMP: this network has no sockets for it")
	}
	c, raw, err := network.DialICMP(ctx, to)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // all that it was for has been read
	r.Note("socket", map[bool]string{true: "raw", false: "datagram"}[raw])
	return p.exchange(ctx, r, c, p.newSession(to, raw))
}

func (p *probe) newSession(to netip.Addr, raw bool) *session {
	s := &session{v4: to.Is4(), id: int(uint16(p.env.Rand.Uint32())), raw: raw, size: p.config.Size}
	for i := range s.token {
		s.token[i] = byte(p.env.Rand.Uint32())
	}
	return s
}

// exchange sends all packets on their schedule and takes down the replies until none is missing or their time is over.
// Liveness: the receiving goroutine ends with the read deadline that is set here at the end; exchange waits for it.
func (p *probe) exchange(ctx context.Context, r *probes.Recorder, c probes.ICMPConn, s *session) error {
	t := newTally(r, p.config.Late)
	var receiveErr error
	var wg sync.WaitGroup
	wg.Go(func() { receiveErr = p.receive(c, s, t) })
	sendErr := p.send(ctx, c, s, t)
	if ctx.Err() == nil {
		t.finish()
		await(ctx, t.done, p.config.Wait)
	}
	_ = c.SetReadDeadline(time.Unix(1, 0)) // a socket that refuses is closed already, which ends the reading too
	wg.Wait()
	sent, received, strange := t.account(ctx.Err() == nil)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case received > 0:
		return nil // the losses are taken down
	case strange > 0:
		return probes.Fail(probes.Invalid, "%s sent back something else than it was sent", p.target.Host)
	case sent == 0:
		return fmt.Errorf("sending to %s: %w", p.target.Host, sendErr)
	case receiveErr != nil:
		return fmt.Errorf("echo of %s: %w", p.target.Host, receiveErr)
	default:
		return probes.Fail(probes.Timeout, "%s answered none of %d ICMP echo requests: many hosts and firewalls drop them", p.target.Host, sent)
	}
}

// send returns the last refusal of the kernel. Each message is made before the wait for its time, and everything else
// comes behind its departure, so that nothing stands between the stamp and the kernel.
func (p *probe) send(ctx context.Context, c probes.ICMPConn, s *session, t *tally) error {
	var last error
	for i := range p.config.Count {
		planned := time.Duration(i) * p.config.Interval
		message, err := s.request(uint64(i), planned)
		if err != nil {
			return err
		}
		if client.WaitUntil(ctx, t.start.Add(planned)) != nil {
			return last // exchange asks the context itself
		}
		at := t.begin(planned)
		err = write(c, message)
		t.left(i, err)
		t.r.ObserveDuration(probes.ScheduleError, probes.Both, at-planned)
		if err != nil {
			last = err
		}
	}
	return last
}

// write sends a message, once more where the kernel only took the occasion to tell of an ICMP error that had come in.
func write(c probes.ICMPConn, message []byte) error {
	_, err := c.Write(message)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) {
		_, err = c.Write(message)
	}
	return err
}

// maxErrors ends the reading of a socket that has nothing else to tell any more.
const maxErrors = 1000

// receive takes down replies until the read deadline. It returns the last error that the kernel told of.
func (p *probe) receive(c probes.ICMPConn, s *session, t *tally) error {
	b := make([]byte, p.config.Size+headerRoom)
	var last error
	for failures := 0; failures < maxErrors; {
		a, err := c.Read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return last
		case err != nil:
			last = err
			failures++
			continue
		}
		switch number, stamp, v := s.reply(b[:a.Size]); v {
		case ours:
			t.arrived(number, stamp, a)
		case strange:
			t.odd()
		case others:
		}
	}
	return last
}

// headerRoom is for the longest IPv4 header, the ICMP header, and some bytes that should not be there.
const headerRoom = 128

func await(ctx context.Context, done <-chan struct{}, longest time.Duration) {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}
