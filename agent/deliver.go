package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strconv"

	"github.com/nrprobe/nrprobe/agent/outbox"
	"github.com/nrprobe/nrprobe/agent/uplink"
	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// link is the uplink that is running.
type link struct {
	cancel          context.CancelFunc
	done            chan struct{}
	err             error // of Run, once done
	hard, producing context.Context
}

// newUplink makes the uplink that a configuration asks for; nil when it asks for none.
func (a *Agent) newUplink(c *Config, box *outbox.Outbox) (*uplink.Uplink, error) {
	if c.Uplink.URL == "" {
		return nil, nil
	}
	token, err := configs.Secret(c.Uplink.Token, c.Uplink.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("uplink.token_file: %w", err)
	}
	verify, err := uplinkTLS(c.Uplink)
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	network, err := a.deps.Network(Way{Interface: c.Uplink.Interface, Family: "any"})
	if err != nil {
		return nil, fmt.Errorf("uplink.interface: %w", err)
	}
	network = metered{network, func(n unit.Bytes) { a.plan.Charge(c.Uplink.Interface, n) }}
	return uplink.New(c.Uplink, box, uplink.Options{Token: token, TLS: verify, Network: network, Version: a.deps.Version, Log: a.log}), nil
}

// uplinkTLS verifies the server as the configuration says. Stores of others may not speak TLS 1.3 yet.
func uplinkTLS(c uplink.Config) (*tls.Config, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" {
		return nil, err
	}
	port, _ := strconv.ParseUint(u.Port(), 10, 16) // absent or checked by the URL's own syntax; only named in errors
	policy := trust.Policy{Pin: c.Pin, CAFile: c.CA, Insecure: c.Insecure}
	verify, err := policy.Config(probes.Target{Host: u.Hostname(), Port: uint16(port), Text: u.Host})
	if err != nil {
		return nil, err
	}
	verify.MinVersion = tls.VersionTLS12
	return verify, nil
}

// startLink starts the uplink of the present configuration. It runs until the outbox is empty after producing has ended,
// or until hard ends.
func (a *Agent) startLink(hard, producing context.Context) error {
	a.changes.lock()
	defer a.changes.unlock()
	up, err := a.newUplink(a.config.Load(), a.box())
	if up == nil || err != nil {
		return err
	}
	a.changes.link = a.runLink(hard, producing, up)
	return nil
}

// runLink starts the goroutine of an uplink. It ends with the link, which stopLink or a reload waits for.
func (a *Agent) runLink(hard, producing context.Context, up *uplink.Uplink) *link {
	a.mu.Lock()
	a.uplink = up
	a.mu.Unlock()
	ctx, cancel := context.WithCancel(hard)
	l := &link{cancel: cancel, done: make(chan struct{}), hard: hard, producing: producing}
	go func() {
		defer close(l.done)
		defer cancel()
		l.err = up.Run(ctx, producing)
	}()
	return l
}

// stopLink waits for the uplink to end by itself, which it does soon once producing has ended.
func (a *Agent) stopLink() error {
	a.changes.lock()
	l := a.changes.link
	a.changes.unlock()
	if l == nil {
		return nil
	}
	<-l.done
	return l.err
}

// currentUplink is the uplink that runs, or ran last; nil without one.
func (a *Agent) currentUplink() *uplink.Uplink {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.uplink
}
