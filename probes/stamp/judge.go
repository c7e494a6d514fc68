package stamp

import (
	"fmt"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// judge says how far the figures can be trusted, and which are missing and why.
func (k *clerk) judge(w *window, far peer) {
	total := w.total()
	if total.refused > 0 {
		k.rec.Flag(probes.KernelRefused)
	}
	if thread := k.thread(); thread != "" {
		k.rec.Note("sending_thread", thread)
	}
	k.judgeSchedule(w, &total)
	k.judgeTraffic(w)
	k.judgeFarEnd(w, &total)
	if w.slept >= time.Second {
		k.rec.Flag(probes.Suspended)
		k.rec.Note("slept", w.slept.String())
	}
	if w.stepped != 0 {
		k.rec.Flag(probes.ClockStepped)
		k.rec.Event(probes.Event{Time: time.Unix(0, w.epoch+int64(w.start)), Type: probes.ClockStep, Detail: "by " + w.stepped.String()})
	}
	k.stamps(w, &total, far)
	if missing := k.missing(far); len(missing) > 0 {
		k.rec.Note("missing", strings.Join(missing, "; "))
	}
	if len(k.template.omitted) > 0 {
		k.rec.Note("extensions_omitted", strings.Join(k.template.omitted, ", ")+": the packet is too small")
	}
}

// stamps says where the four stamps came from. STAMP itself tells only whether the far end's hardware took part.
func (k *clerk) stamps(w *window, c *counts, far peer) {
	t1, t4 := w.kernelStamps()
	t3 := stampsUser
	if far.follows {
		t3 = share(far.methodT3.String()+" followed up", int(c.departures), int(c.received))
	}
	k.rec.Note("stamps", fmt.Sprintf("T1=%s,T2=%s,T3=%s,T4=%s",
		share(stampsKernel, t1, len(w.records)), far.methodT2, t3, share(stampsKernel, t4, int(c.received))))
	if t1 < len(w.records) || t4 < int(c.received) || !far.follows {
		k.rec.Flag(probes.UserStamps)
	}
}

// How notes call the places that stamps come from.
const (
	stampsUser   = "user"
	stampsKernel = "kernel"
)

// share says how many of the stamps came from the better place; the rest was taken by the process.
func share(better string, n, of int) string {
	switch n {
	case 0:
		return stampsUser
	case of:
		return better
	default:
		return fmt.Sprintf("%s %d/%d", better, n, of)
	}
}

// missing says which figures the far end does not allow for.
func (k *clerk) missing(far peer) []string {
	if !far.met {
		return nil
	}
	var list []string
	if !far.tellsDirection() {
		list = append(list, "direction of loss: the reflector repeats our sequence numbers")
	}
	if !far.timestamps {
		list = append(list, "delay per direction and time at the far end: the reflector gives no time stamps")
	}
	if k.template.ssid != 0 && !far.ssid {
		list = append(list, "source at the far end: the reflector lacks the extensions of RFC 8972")
	}
	return list
}

// tolerance is how much later than planned a packet may leave before it counts as behind schedule.
func (c *Config) tolerance() time.Duration { return max(time.Millisecond, c.Interval/10) }

// mostSkipped is the largest share of skipped slots, one in so many, in a result that is still on schedule. What is
// missing was not chosen by the network, so it leaves what remains a fair sample (RFC 2330 section 11.1 asks no more of
// sampling times than that the network does not know them). But a processor may well be busy because the network is. So
// no more may be missing than lie above the 95th percentile: had every one of them been slow, nine packets in ten would
// still have come within what is published as the 95th.
const mostSkipped = 20

// mostBlind is for how long at most nothing may be sent, though it should be, in a result that is still on schedule, unless
// an interruption was seen that is longer: half as long as an interruption that makes an event, 50 ms as a rule. Such a stall
// can hide an interruption, or one end of it, of up to its own length, which the note nothing_sent_for tells. So where one
// did, the longest interruption is truly at most twice what is published, or shorter than what makes an event. A gap set longer,
// to have fewer events, allows for no more.
func (c *Config) mostBlind() time.Duration { return min(c.gap(), c.ordinaryGap()) / 2 }

// judgeSchedule says whether packets left so late, or not at all, that the figures may tell of this host.
//
// Where the kernel stamps both departure and arrival, a packet that left late is measured from when it left: only its
// moment is another, and that it is nearer to its own slot than to the next the sender sees to. Such a result is late on
// schedule when more than one slot in mostSkipped is missing, or when nothing was sent for longer than mostBlind. Where the
// process takes a stamp itself, whatever makes it send late makes it read the clock late as well: there the result is late on
// schedule also when more than one slot in a hundred was skipped, or left later than planned by more than the tolerance.
//
// If the kernel says that our threads waited for a processor for at least half of the time by which slots were late, that
// is why.
func (k *clerk) judgeSchedule(w *window, c *counts) {
	t1, t4 := w.kernelStamps()
	user := (len(w.records)-t1)*100 > len(w.records) || (int(c.received)-t4)*100 > int(c.received)
	planned := c.sent + c.skipped
	late := c.skipped*mostSkipped > planned || w.blind > max(w.seen, k.config.mostBlind())
	late = late || user && (c.behind+c.skipped)*100 > planned
	if late {
		k.rec.Flag(probes.ScheduleLate)
	}
	if w.blind > 0 {
		k.rec.Note("nothing_sent_for", readable(w.blind).String())
	}
	if !w.waitKnown {
		return
	}
	k.rec.Note("processor_wait", w.processorWait.Round(time.Microsecond).String())
	if late && w.processorWait > 0 && w.processorWait >= c.lateness/2 {
		k.rec.Flag(probes.CPUStarved)
	}
}

// crossLimit is how much traffic of others on the interface, in bytes a second of either direction, may put packets into a
// queue that shows: 1 Mbit/s is a tenth of an uplink of 10 Mbit/s, on which each of its full packets takes 1.2 ms.
const crossLimit = 125_000

// judgeTraffic says whether others used the interface meanwhile. Where we ourselves send much, what is ours is known only
// to a tenth: replies on their way, and headers of the link layer.
func (k *clerk) judgeTraffic(w *window) {
	if !w.trafficKnown {
		return
	}
	up, down := w.others.Up/w.span.Seconds(), w.others.Down/w.span.Seconds()
	k.rec.Note("other_traffic", fmt.Sprintf("up %.0f, down %.0f bytes per second on %s", up, down, w.trafficOn))
	if up > max(crossLimit, w.own.Up/w.span.Seconds()/10) || down > max(crossLimit, w.own.Down/w.span.Seconds()/10) {
		k.rec.Flag(probes.CrossTraffic)
	}
}

// kernelStamps counts the departures and arrivals that the kernel stamped.
func (w *window) kernelStamps() (t1, t4 int) {
	for i := range w.records {
		if w.records[i].fate.has(kernelT1) {
			t1++
		}
		if w.records[i].fate.has(kernelT4) {
			t4++
		}
	}
	return t1, t4
}
