package stamp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// frame is a frame of a pattern as it was sent: a row of packets with consecutive sequence numbers.
type frame struct {
	id    uint32
	flow  uint8
	first uint64 // sequence number
	sent  int    // packets; all of them unless one was skipped or refused
}

// shape lays out the packets of each flow of the pattern, if there is one.
func (m *measurement) shape(sign *signer, ssid uint16) {
	p := m.config.pattern()
	if p == nil {
		return
	}
	for _, f := range p.flows() {
		s := shape{size: f.request(sign.mode()), reply: f.reply(sign.mode()), ssid: ssid}
		m.shapes = append(m.shapes, newShape(m.config, s, sign, m.random))
	}
}

// templateFor is the packet that a slot is filled with.
func (m *measurement) templateFor(s slot) *template {
	if s.flow == nil {
		return m.template
	}
	return m.shapes[s.flow.number]
}

// frame takes down that the packet last sent belongs to a frame.
func (l *ledger) frame(s slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[len(l.windows)-1]
	if s.part == 0 {
		w.frames = append(w.frames, frame{id: s.frame, flow: s.flow.number, first: l.next - 1, sent: 1})
		return
	}
	if n := len(w.frames); n > 0 && w.frames[n-1].id == s.frame && w.frames[n-1].sent == s.part {
		w.frames[n-1].sent++
	}
}

// fortune is how a frame, or many of them, fared on a way. Late frames are among the lost ones: an application has no use
// for them.
type fortune struct {
	sent, lost, late int
	open             int // those that the error of the clocks' offset could turn from in time to late, or back
}

func (f *fortune) loss() { f.sent, f.lost = f.sent+1, f.lost+1 }
func (f *fortune) delay(late bool) {
	f.sent++
	if late {
		f.lost, f.late = f.lost+1, f.late+1
	}
}

func (f *fortune) publish(rec *probes.Recorder, d probes.Direction) {
	rec.Add(probes.FramesSent, d, float64(f.sent))
	rec.Add(probes.FramesLost, d, float64(f.lost))
	rec.Add(probes.FramesLate, d, float64(f.late))
	if f.sent > 0 {
		rec.Set(probes.FramesInTime, d, float64(f.sent-f.lost)/float64(f.sent))
	}
}

// judgement is what becomes known of the frames of a window.
type judgement struct {
	w       *window
	settled time.Duration
	known   *offset // between the clocks; nil when nothing is known of it
	pattern *pattern
	flows   []*flow

	both, up, down fortune
	phases         map[string]*fortune
	unknownUp      int // frames whose time on the way up went with a lost reply
	undirected     int // frames with losses of which the direction is not known
	untimed        int // frames without usable time stamps of the far end
}

// framing takes down how the frames of a window fared. A frame that was not sent in full is this host's failure, which
// packets_skipped and packets_refused tell of, and one on its way at the end is not judged yet.
func (k *clerk) framing(w *window, far peer, settled time.Duration, known *offset) {
	if k.pattern == nil {
		return
	}
	j := judgement{w: w, settled: settled, known: known, pattern: k.pattern, flows: k.pattern.flows(), phases: map[string]*fortune{}}
	for i := range w.frames {
		f := &w.frames[i]
		flow := j.flows[f.flow]
		if records := w.records[f.first-w.first:]; f.sent == flow.packets() {
			j.judge(flow, records[:f.sent])
		}
	}
	j.both.publish(k.rec, probes.Both)
	k.rec.Note("pattern", fmt.Sprintf("%s: a frame has %v up, %v down, %v for both", k.pattern.name, k.pattern.up, k.pattern.down, k.pattern.roundTrip()))
	k.rec.Note("frames_in_time", j.byPhase())
	k.noteReplies(far)
	if why := j.undecided(far); why != "" {
		k.rec.Note("frames_by_direction", why)
		return
	}
	remarks := slices.Concat(j.publish(k.rec, probes.Up, &j.up), j.publish(k.rec, probes.Down, &j.down))
	if j.unknownUp > 0 {
		remarks = append(remarks, fmt.Sprintf("left out on the way up, for with a lost reply went the time of arrival: %d", j.unknownUp))
	}
	if len(remarks) > 0 {
		k.rec.Note("frames_by_direction", strings.Join(remarks, "; "))
	}
}

// judge decides on one frame: first on both ways together, then on each.
func (j *judgement) judge(f *flow, records []record) {
	lost, undirected, lostAtUp, lostAtDown := false, false, false, false
	trip := time.Duration(0)
	for i := range records {
		r := &records[i]
		switch {
		case r.fate.has(answered):
			_, residence, _ := r.roundTrip()
			trip = max(trip, r.received-records[0].sent-residence)
		case !r.lost(j.settled):
			return
		default:
			lost = true
			lostAtUp = lostAtUp || r.fate.has(lostUp)
			lostAtDown = lostAtDown || r.fate.has(lostDown)
			undirected = undirected || !r.fate.has(lostUp) && !r.fate.has(lostDown)
		}
	}
	inPhase := j.phases[f.phase]
	if inPhase == nil {
		inPhase = &fortune{}
		j.phases[f.phase] = inPhase
	}
	for _, all := range []*fortune{&j.both, inPhase} {
		if lost {
			all.loss()
		} else {
			all.delay(trip > j.pattern.roundTrip())
		}
	}
	if undirected {
		j.undirected++
		return
	}
	j.judgeWays(f, records, lostAtUp, lostAtDown)
}

// judgeWays decides on the directions that the frame was meant for. What did not reach the far end was not sent down.
func (j *judgement) judgeWays(f *flow, records []record, lostAtUp, lostAtDown bool) {
	if f.up > 0 {
		switch {
		case lostAtUp:
			j.up.loss()
		case lostAtDown:
			j.unknownUp++
		default:
			up, _, ok := j.oneWay(records)
			j.decide(&j.up, up, j.pattern.up, ok)
		}
	}
	if f.down > 0 && !lostAtUp {
		if lostAtDown {
			j.down.loss()
			return
		}
		_, down, ok := j.oneWay(records)
		j.decide(&j.down, down, j.pattern.down, ok)
	}
}

// oneWay is how long a frame took there, from the departure of its first packet to the arrival of its last, and the longest
// that one of its packets took back.
func (j *judgement) oneWay(records []record) (up, down time.Duration, ok bool) {
	if j.known == nil {
		return 0, 0, false
	}
	for i := range records {
		r := &records[i]
		if _, _, ok := r.roundTrip(); !ok {
			return 0, 0, false
		}
		ahead := j.known.value + time.Duration(j.known.drift*float64(r.sent-j.known.at))
		up = max(up, time.Duration(r.t2-j.w.epoch-int64(records[0].sent))-ahead)
		down = max(down, time.Duration(j.w.epoch+int64(r.received)-r.t3)+ahead)
	}
	return up, down, true
}

// decide holds a delay against its deadline.
func (j *judgement) decide(way *fortune, delay, deadline time.Duration, ok bool) {
	if !ok {
		j.untimed++
		return
	}
	late := delay > deadline
	way.delay(late)
	if !late && delay+j.known.bound > deadline || late && delay-j.known.bound <= deadline {
		way.open++
	}
}

// publish takes one way down unless it hangs on the clocks: up to one frame in a hundred may be closer to its deadline than
// the offset is known, and then goes by its estimate.
func (j *judgement) publish(rec *probes.Recorder, d probes.Direction, way *fortune) (remarks []string) {
	if way.open*100 <= way.sent {
		way.publish(rec, d)
	}
	if way.open > 0 {
		remarks = append(remarks, fmt.Sprintf("closer to the deadline than the %v to which one-way delays are known: %d of %d %s", j.known.bound, way.open, way.sent, d))
	}
	return remarks
}

// undecided says why there are no figures per direction at all; "" when there may be.
func (j *judgement) undecided(far peer) string {
	switch {
	case j.undirected > 0:
		return fmt.Sprintf("not known: the direction of the losses of %d frames is not", j.undirected)
	case j.untimed > 0 || j.known == nil && j.both.sent > j.both.lost:
		return "not known: the reflector gives no time stamps"
	case !far.met:
		return "not known: nothing came back"
	default:
		return ""
	}
}

// byPhase writes how many frames of each phase were in time: "lobby 50/50, active 312/313".
func (j *judgement) byPhase() string {
	var parts []string
	for _, ph := range j.pattern.phases {
		if f := j.phases[ph.name]; f != nil {
			parts = append(parts, fmt.Sprintf("%s %d/%d", ph.name, f.sent-f.lost, f.sent))
		}
	}
	return strings.Join(parts, ", ")
}

// noteReplies says what the two directions carried besides the pattern's own frames.
func (k *clerk) noteReplies(far peer) {
	shorter, longer := false, false
	for _, f := range k.pattern.flows() {
		shorter = shorter || f.reply(unauthenticated) < f.request(unauthenticated)
		longer = longer || f.down > f.up
	}
	if longer {
		k.rec.Note("load_up", "frames for the way down travel up as well: no reply is longer than its request")
	}
	switch {
	case !far.met || !shorter:
	case far.shortens:
		k.rec.Note("load_down", "a short reply to each packet of frames for the way up")
	default:
		k.rec.Note("load_down", "frames for the way up come back as long as they went: the reflector does not shorten replies (RFC 10052)")
	}
}
