package stamp

import (
	"context"
	"time"
)

// lead is the time between the beginning of a session and its first packet: enough to have everything prepared.
const lead = 2 * time.Millisecond

// send works off the schedule.
func (m *measurement) send(ctx context.Context) {
	plan := newSchedule(m.config, m.random, lead)
	for {
		next, ok := plan.take()
		if !ok {
			break
		}
		if !m.enter(ctx, next) || !m.waitAndSend(ctx, next) {
			return
		}
	}
	m.finish(ctx, plan.next)
}

// waitAndSend prepares a packet, waits for its time and sends it. It returns false when ctx ended.
func (m *measurement) waitAndSend(ctx context.Context, next slot) bool {
	template := m.templateFor(next)
	template.prepare(m.ledger.nextSeq())
	if !m.waiter.until(ctx, next.at) {
		return false
	}
	now := m.clock.now()
	behind := now - next.at
	if behind > next.patience(m.config) {
		// To send it now would only crowd the next one; the spacing is part of what is measured.
		m.ledger.skip(now, next)
		return true
	}
	epoch := m.ledger.send(now, behind, next.pause)
	packet := template.depart(epoch + int64(now))
	m.capture.sent(epoch+int64(now), packet)
	link := m.line.current()
	err := link.transmit(packet)
	if isTurnedAway(err) {
		// The error is news of an earlier packet, and being told took it off the socket; this one did not leave yet.
		m.trouble.sawTurnedAway()
		err = link.transmit(packet)
	}
	if err != nil {
		m.ledger.refuse()
		m.capture.refused()
		m.trouble.sawRefusal(err)
	} else if next.flow != nil {
		m.ledger.frame(next)
	}
	m.line.sent(now, err != nil)
	m.watch.sent(len(packet), err)
	return true
}

// ahead is how long before it begins a window is opened at most: a small machine takes milliseconds to read what is looked
// at then, and the first packet is not to wait for it.
const ahead = 20 * time.Millisecond

// enter opens the windows up to that of the slot, each when it is about to begin, because several may pass before the slot
// comes: what is looked at then has to be of the window before. It returns false when ctx ended.
func (m *measurement) enter(ctx context.Context, next slot) bool {
	for w := m.ledger.latest(); next.at >= w.end; w = m.ledger.latest() {
		if at := w.end - ahead; at > m.clock.now() && !m.waiter.until(ctx, at) {
			return false
		}
		m.open(w.end)
	}
	return true
}

// open opens the window that starts at that moment: warm-up, the whole one-shot run, or one of many. It asks for the
// state of the clock.
func (m *measurement) open(start time.Duration) {
	counted := newSchedule(m.config, nil, lead).counted()
	w := &window{start: start, end: forever, counted: start >= counted}
	if start == 0 {
		w.start, w.end = lead, counted
		if m.config.Warmup == 0 {
			w.end, w.counted = m.windowEnd(lead), true
		}
		w.epoch = m.clock.epoch()
	} else {
		w.end = m.windowEnd(start)
		m.ledger.disturb(m.look())
		w.epoch = m.clock.epoch()
	}
	w.estimate = m.state.estimate()
	m.template.estimate = w.estimate
	for _, t := range m.shapes {
		t.estimate = w.estimate
	}
	m.ledger.open(w)
}

// look says what has happened to the clocks and around the session since it was last asked.
func (m *measurement) look() disturbance {
	d := m.clock.check()
	d.surrounding = m.watch.look(m.clock.now())
	return d
}

// windowEnd is the end of the counted window that starts at that moment.
func (m *measurement) windowEnd(start time.Duration) time.Duration {
	if m.config.Window == 0 {
		return forever
	}
	return start + m.config.Window
}

// finish ends the last window and sends closing packets, which count in no figure, as long as others are out: only a
// later reply shows in which direction the last ones were lost. The first one leaves in the next slot when the far end
// tells with each reply when the one before it really left, so that the last reply's departure is told, too.
func (m *measurement) finish(ctx context.Context, next time.Duration) {
	end := m.clock.now()
	m.ledger.end(end)
	m.ledger.open(&window{start: end, end: forever, epoch: m.ledger.latest().epoch})
	m.signal()
	if m.ledger.follows() && !m.waitAndSend(ctx, slot{at: next}) {
		return
	}
	for _, part := range [...]time.Duration{8, 4, 2} {
		if !m.waitAndSend(ctx, slot{at: end + m.config.Wait/part}) {
			return
		}
	}
}
