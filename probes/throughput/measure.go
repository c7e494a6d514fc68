package throughput

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/load"
)

// meter follows one direction of a measurement. It is safe for concurrent use.
type meter struct {
	way      probes.Direction
	counter  *load.Counter // what the receiver has counted, as far as it is known here
	interval time.Duration // between two samples

	mu       sync.Mutex
	samples  series
	settling settling
	recorded int64 // bytes that the recorder has been told of
	rtts     []time.Duration
	sender   *load.State // the latest
}

// add takes down the receiver's count at one moment. What is not later than the sample before is left out. Behind the moment at
// which all was there that was agreed on, nothing is measured any more: the other direction may still be at it.
func (m *meter) add(s sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.samples)
	switch {
	case s.at <= m.samples.before(n).at || m.counter.IsFull() && s.bytes == m.samples.before(n).bytes:
	case n > 0 && m.replaces(s):
		m.samples[n-1] = s
	default:
		m.samples = append(m.samples, s)
	}
}

// looseSpan is over how long a rate is that begins at a loose count or ends at one, but for the last of a series: so long that it
// matters little how old the count is, and short enough that there are rates where every count is loose.
const looseSpan = time.Second

// replaces says whether s takes the place of the last sample, because a rate over next to no time is noise: where s follows
// closely, as the last count does and one behind a late tick, and where the last sample or the one before is loose, until there
// is one that is not, or looseSpan has passed. The caller holds mu.
func (m *meter) replaces(s sample) bool {
	n := len(m.samples)
	last, before := m.samples[n-1], m.samples.before(n-1)
	switch {
	case s.at-last.at < m.interval/2, s.at-before.at < m.interval*3/2, last.loose && !s.loose:
		return true
	default:
		return (last.loose || before.loose) && last.at-before.at < looseSpan-m.interval/2
	}
}

// addSender takes down what the sender's kernel says.
func (m *meter) addSender(s load.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sender = &s
	m.rtts = append(m.rtts, s.RTT)
}

// measurement is one run, whichever transport carries it: it takes samples, shows progress, decides when it is enough and
// publishes what came out.
type measurement struct {
	config  Config
	rec     *probes.Recorder
	fail    context.CancelCauseFunc // ends the streams and the watch, with the reason
	address string                  // of the far end, for errors
	start   time.Time
	meters  []*meter
	around  *load.Surroundings
	// sample is called each interval before the meters are looked at, and reads what is counted on this side.
	sample func(at time.Duration)
}

func newMeasurement(c Config, rec *probes.Recorder, fail context.CancelCauseFunc) *measurement {
	m := &measurement{config: c, rec: rec, fail: fail}
	for _, way := range c.ways() {
		m.meters = append(m.meters, &meter{way: way, counter: load.NewCounter(c.target()), interval: c.Interval})
		rec.Add(probes.Transferred, way, 0)
	}
	return m
}

// meter returns the meter of one direction; nil when that is not measured.
func (m *measurement) meter(way probes.Direction) *meter {
	for _, x := range m.meters {
		if x.way == way {
			return x
		}
	}
	return nil
}

// errEnded ends the streams of a test that is over.
var errEnded = errors.New("the test is over")

// ended is called when a stream has. An error ends the test, unless the stream has nothing more to do: a sender that used
// up its budget, and a receiver that has all that was agreed on.
func (m *measurement) ended(ctx context.Context, up bool, err error) {
	if err == nil || ctx.Err() != nil || !up && m.meter(probes.Down).counter.IsFull() {
		return
	}
	after := time.Since(m.start).Round(time.Millisecond)
	if errors.Is(err, io.EOF) {
		m.fail(probes.Fail(probes.Error, "%s closed a stream %v after the start", m.address, after))
		return
	}
	m.fail(probes.Fail(probes.Error, "a stream to %s broke %v after the start: %w", m.address, after, err))
}

// Why a measurement ended, in the info "ended_by".
const (
	byDuration = "duration"
	byVolume   = "volume"
	byMaxBytes = "max_bytes"
	bySettled  = "settled"
)

// watch blocks while data flows, and says why it is enough. It returns an error when ctx ends, with its cause, and when
// nothing has moved for idleLimit.
func (m *measurement) watch(ctx context.Context) (why string, err error) {
	tick := time.NewTicker(m.config.Interval)
	defer tick.Stop()
	end := time.NewTimer(m.config.Duration - time.Since(m.start))
	defer end.Stop()
	full := m.full()
	var moved int64
	movedAt := m.start
	for {
		select {
		case <-full[probes.Up]:
			full[probes.Up] = nil
		case <-full[probes.Down]:
			full[probes.Down] = nil
		case <-end.C:
			m.look()
			return byDuration, nil
		case <-tick.C:
		case <-ctx.Done():
			m.look()
			return "", context.Cause(ctx)
		}
		m.look()
		switch now := m.total(); {
		case full.done():
			return m.limitName(), nil
		case m.settled():
			m.rec.Flag(probes.StoppedEarly)
			return bySettled, nil
		case now > moved:
			moved, movedAt = now, time.Now()
		case time.Since(movedAt) >= idleLimit:
			return "", probes.Fail(probes.Timeout, "nothing has arrived for %v, %v after the start", idleLimit, time.Since(m.start).Round(time.Millisecond))
		}
	}
}

// fulls are the channels that are closed when a direction has carried all that it may; nil once that is known.
type fulls map[probes.Direction]<-chan struct{}

func (m *measurement) full() fulls {
	f := fulls{}
	for _, x := range m.meters {
		f[x.way] = x.counter.Full()
	}
	return f
}

func (f fulls) done() bool {
	for _, c := range f {
		if c != nil {
			return false
		}
	}
	return true
}

func (m *measurement) limitName() string {
	if m.config.Volume > 0 {
		return byVolume
	}
	return byMaxBytes
}

// total is how many bytes all receivers have counted.
func (m *measurement) total() (n int64) {
	for _, x := range m.meters {
		n += x.counter.Total()
	}
	return n
}

// look takes a sample and shows progress: goodput is the mean of the last second until publish knows better.
func (m *measurement) look() {
	if m.sample != nil {
		m.sample(time.Since(m.start))
	}
	for _, x := range m.meters {
		x.mu.Lock()
		x.recordBytes(m.rec)
		if n := len(x.samples); n > 0 {
			second := int(time.Second / m.config.Interval)
			m.rec.Set(probes.Goodput, x.way, x.samples.mean(max(0, n-second)))
		}
		x.mu.Unlock()
	}
}

// recordBytes tells the recorder of the bytes that it has not been told of. The caller holds mu.
func (m *meter) recordBytes(rec *probes.Recorder) {
	total := m.counter.Total()
	rec.Add(probes.Transferred, m.way, float64(total-m.recorded))
	m.recorded = total
}

// settled says whether the rates of all directions have. One that has carried all it may will not change any more.
func (m *measurement) settled() bool {
	if m.config.Settle == 0 {
		return false
	}
	rule := settleRule{tolerance: m.config.Settle, confidence: m.config.Confidence, whole: m.config.Duration}
	all := true
	for _, x := range m.meters {
		x.mu.Lock()
		yes := x.counter.IsFull() || x.settling.look(rule, x.samples, m.skip(x.samples))
		x.mu.Unlock()
		all = all && yes
	}
	return all
}

// skip is how many samples at the start are left out.
func (m *measurement) skip(s series) int {
	if m.config.Warmup > 0 {
		return s.warm(m.config.Warmup)
	}
	return s.ramp()
}

// publish sums up each direction. It is called once, when no more samples come.
func (m *measurement) publish(why string) {
	if why != "" {
		m.rec.Note("ended_by", why)
	}
	for _, x := range m.meters {
		x.mu.Lock()
		x.recordBytes(m.rec)
		if len(x.samples) > 0 {
			m.publishSeries(x)
		}
		if x.sender != nil {
			x.sender.Record(m.rec, x.way, x.samples.before(len(x.samples)).at, meanOf(x.rtts))
		}
		x.mu.Unlock()
	}
}

func (m *measurement) publishSeries(x *meter) {
	skip := m.skip(x.samples)
	m.rec.Set(probes.Goodput, x.way, x.samples.mean(skip))
	m.rec.Set(probes.Ramp, x.way, x.samples.before(skip).at.Seconds())
	for i := skip; i < len(x.samples); i++ {
		m.rec.Observe(probes.IntervalRate, x.way, x.samples.rate(i))
	}
	if ideal := m.idealTime(x.samples[len(x.samples)-1].bytes); ideal > 0 {
		m.rec.Set(probes.TransferTimeRatio, x.way, x.samples[len(x.samples)-1].at.Seconds()/ideal)
	}
}

// idealTime is how many seconds TCP would take for so many bytes at the capacity that the configuration tells, with full
// segments and time stamps on a path for Ethernet; 0 when it is not known.
func (m *measurement) idealTime(bytes int64) float64 {
	const packet, timeStamps = 1500, 12
	headers := 20 + 20 + timeStamps
	if address, err := netip.ParseAddrPort(m.address); err != nil || m.config.Capacity == 0 || m.config.Transport != "tcp" {
		return 0
	} else if !address.Addr().Unmap().Is4() {
		headers += 20
	}
	return float64(bytes) * packet / float64(packet-headers) / float64(m.config.Capacity)
}

func meanOf(v []time.Duration) (mean time.Duration) {
	for _, d := range v {
		mean += d / time.Duration(len(v))
	}
	return mean
}
