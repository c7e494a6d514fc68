package uplink

import (
	"errors"
	"maps"
	"time"
)

// failed counts a lease that stays in the outbox and logs why, once for each reason.
func (u *Uplink) failed(err error) {
	u.fails++
	outcome, reason := "retried", err.Error()
	if n, ok := errors.AsType[*notDelivered](err); ok {
		reason = n.reason
		if n.verdict == refused {
			outcome = "refused"
		}
	}
	u.mu.Lock()
	u.stats.Batches[outcome]++
	u.mu.Unlock()
	if reason == u.reason {
		u.log.Debug("results still cannot be delivered", "attempts", u.fails, "error", err)
		return
	}
	u.reason = reason
	u.log.Warn("results cannot be delivered: they stay in the outbox", "url", u.config.URL, "error", err)
}

// succeeded counts a lease that was settled.
func (u *Uplink) succeeded(t *tally, size int) {
	outcome := "delivered"
	if t.rejected > 0 {
		outcome = "rejected"
		u.logRejection(t)
	}
	if u.reason != "" {
		u.log.Info("results are delivered again", "url", u.config.URL, "attempts", u.fails+1)
	}
	u.reason, u.fails = "", 0
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stats.Batches[outcome]++
	u.stats.Delivered += uint64(t.accepted)
	u.stats.Rejected += uint64(t.rejected)
	u.stats.Bytes += uint64(size)
	u.stats.LastSuccess = time.Now()
}

// maxLogged bounds how many reasons are remembered: a server that words each answer anew shall not fill our memory.
const maxLogged = 64

func (u *Uplink) logRejection(t *tally) {
	key := t.sample.reason
	if u.logged[key] || len(u.logged) >= maxLogged {
		return
	}
	u.logged[key] = true
	u.log.Error("the server rejected results for good: they are dropped (further ones are only counted)",
		"count", t.rejected, "reason", t.sample.reason, "detail", t.sample.detail, "record", brief(string(t.record)))
}

// Stats returns the present counts.
func (u *Uplink) Stats() Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.stats
	s.Batches = maps.Clone(s.Batches)
	return s
}
