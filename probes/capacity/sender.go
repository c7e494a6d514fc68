package capacity

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	// tick is how far bursts are apart at rates of more than one datagram per tick: 1 ms, which RFC 9097 section 8.1 has
	// among its intervals and timers of every platform can keep.
	tick = time.Millisecond
	// longestLag is how much a sender that was held up makes up for; what lies further back is skipped, so that the path
	// does not get a burst that the search did not ask for.
	longestLag = 10 * time.Millisecond
)

// sender sends load as its search says.
type sender struct {
	link
	search *search
	block  []byte // datagrams, their headers filled in but for number and time

	start    time.Time
	number   uint64        // the next datagram's
	due      time.Duration // when it is, behind start
	wake     time.Duration // when the next burst is, not before due
	refusal  error         // why the kernel refused a datagram, the latest time
	done     done
	heard    time.Duration // when the latest feedback came
	silence  silence
	latest   feedback
	lost     int // feedbacks that were given up since the latest one
	feedback chan feedback
}

func newSender(l link, seed uint64) *sender {
	s := &sender{link: l, search: newSearch(l.plan.InitialRate, l.plan.MaxRate), feedback: make(chan feedback, 64)}
	size := l.plan.Size
	s.block = make([]byte, min(batchSegments, largestBatch/size)*size)
	source := rand.New(rand.NewPCG(seed, 0)) // so that nothing on the way can compress it
	for i := range s.block {
		s.block[i] = byte(source.Uint32())
	}
	for b := s.block; len(b) > 0; b = b[size:] {
		putHeader(b, loadPacket, l.token)
		putTrain(b, 0, 0, 0)
	}
	return s
}

// run sends until the time or the bytes are used up, a stop rule applies or ctx ends. The error is ctx's, or that of a
// socket which cannot be used.
// Liveness: the reader of feedback ends with the next deadline of its reads behind the end of sending.
func (s *sender) run(ctx context.Context) (done, error) {
	var reading sync.WaitGroup
	defer reading.Wait()
	listening, stop := context.WithCancel(ctx)
	defer stop()
	interrupt := context.AfterFunc(ctx, func() { _ = s.socket.SetWriteDeadline(time.Unix(1, 0)) })
	defer interrupt()
	s.start = time.Now()
	reading.Go(func() { s.listen(listening) })
	var err error
	if s.plan.Train {
		err = s.sendTrains(ctx)
	} else {
		err = s.sendSearch(ctx)
	}
	s.done.Sent, s.done.GSO = int64(s.number), s.socket.gso
	if !s.plan.Train {
		s.done.Rate, s.done.Congested = s.search.rate(), s.search.steps > 0
	}
	return s.done, err
}

// listen reads feedback until ctx ends.
func (s *sender) listen(ctx context.Context) {
	b := make([]byte, receiveSize)
	for ctx.Err() == nil {
		n, _, from, err := s.socket.read(b, time.Now().Add(feedbackInterval))
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || from != s.socket.peer {
			continue
		}
		f, err := parseFeedback(b[:n], s.token)
		if err != nil {
			continue
		}
		select {
		case s.feedback <- f:
		default: // the sender is held up by far more than a second
		}
	}
}

// sendSearch sends at the rate of the search.
func (s *sender) sendSearch(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	s.silence = newSilence(s.start)
	for planned := time.Duration(0); ; {
		now := time.Since(s.start)
		silent := s.silence.lasts(s.start.Add(now), planned)
		s.backOff(silent)
		if s.done.Stop = s.over(now, silent); s.done.Stop != "" {
			return nil
		}
		if err := s.burst(now); err != nil && ctx.Err() == nil {
			return err
		}
		s.silence.worked(time.Now())
		var wake <-chan time.Time
		if planned = max(0, max(s.due, s.wake)-time.Since(s.start)); planned > 0 {
			timer.Reset(planned)
			wake = timer.C
		}
		if err := s.wait(ctx, wake); err != nil {
			s.done.Stop = byCancel
			return err
		}
	}
}

// wait returns when wake does, when feedback has come, or at once for a wake that is nil.
func (s *sender) wait(ctx context.Context, wake <-chan time.Time) error {
	if wake == nil {
		select {
		case f := <-s.feedback:
			s.hear(f)
		default:
		}
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
	case f := <-s.feedback:
		s.hear(f)
	case <-wake:
	}
	return context.Cause(ctx)
}

// hear takes in a feedback. One that is not newer than the latest tells nothing any more.
func (s *sender) hear(f feedback) {
	if f.number <= s.latest.number {
		return
	}
	s.latest, s.heard, s.lost = f, time.Since(s.start), 0
	s.silence.hear(s.start.Add(s.heard))
	if s.plan.Train {
		return
	}
	s.search.judge(f)
	s.due = min(s.due, s.heard+s.spacing())
}

// backOff counts feedback that is overdue as bad. Before the first one has come, nobody knows how long the way is.
func (s *sender) backOff(silent time.Duration) {
	if s.latest.number == 0 || silent < backoff(s.lost) {
		return
	}
	s.lost++
	s.search.down()
}

// over says why to stop, "" to go on.
func (s *sender) over(now, silent time.Duration) string {
	limit := stopAfter
	if s.latest.number == 0 {
		limit = startLimit
	}
	switch {
	case now >= s.plan.Duration:
		return byDuration
	case s.budget() < int64(s.wire()):
		return byMaxBytes
	case silent >= limit:
		return byNoFeedback
	}
	return ""
}

// budget is how many IP-layer bytes may still be sent.
func (s *sender) budget() int64 {
	if s.plan.MaxBytes == 0 {
		return 1 << 62
	}
	return s.plan.MaxBytes - int64(s.number)*int64(s.wire())
}

// spacing is the time from one datagram to the next.
func (s *sender) spacing() time.Duration {
	return time.Duration(float64(s.wire()) / s.search.rate() * float64(time.Second))
}

// burst sends what is due, and sets due to the next burst.
func (s *sender) burst(now time.Duration) error {
	if s.due > now || s.wake > now {
		return nil
	}
	spacing := float64(s.wire()) / s.search.rate() * float64(time.Second)
	if lag := now - s.due; lag > longestLag {
		skipped := int64(float64(lag-longestLag) / spacing)
		s.done.Skipped += skipped
		s.due += time.Duration(float64(skipped) * spacing)
	}
	n := min(int64(float64(now-s.due)/spacing)+1, s.budget()/int64(s.wire()))
	taken, err := s.transmit(int(n))
	s.due += time.Duration(float64(taken) * spacing)
	s.wake = now
	if taken < int(n) || spacing < float64(tick) {
		s.wake = now + tick // the next burst has all that becomes due meanwhile, and what the kernel refused
	}
	return err
}

// transmit hands n datagrams to the kernel, in batches, until it refuses one. A number that was refused is given to the
// next datagram: what never left must not look lost.
func (s *sender) transmit(n int) (taken int, err error) {
	size := s.plan.Size
	for n > 0 {
		b := s.block[:min(n*size, len(s.block))]
		now := time.Since(s.start)
		for i := 0; i < len(b); i += size {
			putLoad(b[i:], s.number+uint64(i/size), now)
		}
		sent, refused, err := s.socket.send(b, size)
		s.number += uint64(sent)
		s.done.Refused += int64(refused)
		taken += sent
		n -= sent
		switch {
		case errors.Is(err, net.ErrClosed):
			return taken, err
		case err != nil:
			s.refusal = err // no route for a while, a full queue: the stop rules say when it is too long
			return taken, nil
		}
	}
	return taken, nil
}

// sendTrains sends train after train, each when the one before has arrived.
func (s *sender) sendTrains(ctx context.Context) error {
	s.silence = newSilence(s.start)
	for id := 1; id <= s.plan.Trains; id++ {
		n := trainLength(s.latest, s.wire(), s.budget(), s.plan.Trains-id+1)
		now := time.Now()
		if s.done.Stop = s.over(now.Sub(s.start), s.silence.lasts(now, 0)); s.done.Stop != "" {
			return nil
		}
		if n == 0 {
			s.done.Stop = byMaxBytes
			return nil
		}
		if err := s.sendTrain(ctx, uint16(id), n); err != nil {
			return err
		}
		s.silence.worked(time.Now())
		if err := s.awaitTrain(ctx, id); err != nil {
			s.done.Stop = byCancel
			return err
		}
	}
	s.done.Stop = byTrains
	return nil
}

// sendTrain sends one train of n datagrams back to back, or as fast as the agreed rate allows.
func (s *sender) sendTrain(ctx context.Context, id uint16, n int) error {
	size := s.plan.Size
	for place := 0; place < n; {
		k := min(n-place, len(s.block)/size)
		for i := range k {
			putTrain(s.block[i*size:], id, uint32(place+i), uint32(n))
		}
		taken, err := s.transmit(k)
		if err != nil && ctx.Err() == nil {
			return err
		}
		place += max(taken, 1) // a place that was refused stays empty
		if s.plan.MaxRate > 0 {
			pause := time.Duration(float64(taken*s.wire()) / s.plan.MaxRate * float64(time.Second))
			if err := s.rest(ctx, pause); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitTrain waits for the word that a train has arrived, and lets the queues on the way drain.
func (s *sender) awaitTrain(ctx context.Context, id int) error {
	for end := time.Now().Add(trainWait); int(s.latest.train) < id && time.Now().Before(end); {
		if err := s.rest(ctx, min(feedbackInterval, time.Until(end))); err != nil {
			return err
		}
	}
	for end := time.Now().Add(trainPause); time.Now().Before(end); {
		if err := s.rest(ctx, time.Until(end)); err != nil {
			return err
		}
	}
	return nil
}

// rest waits for so long, or until feedback has come.
func (s *sender) rest(ctx context.Context, length time.Duration) error {
	err := s.wait(ctx, time.After(length))
	s.silence.lasts(time.Now(), length)
	return err
}
