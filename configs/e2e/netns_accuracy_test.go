//go:build netns

package e2e

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// The truth about a shaped link. tc-tbf(8) counts Ethernet frames without their checksum: 14 bytes in front of each IP
// packet. A full TCP segment has 1500 bytes of IP, of which 20 + 20 + 12 are headers of IPv4, TCP and its time stamps, so
// that 1448 of 1514 bytes are goodput; a load datagram of 1222 bytes makes 1250 of IP and 1264 of Ethernet. What is
// dropped in front of the shaper takes nothing of its rate.
const (
	goodputShare  = 1448.0 / 1514
	datagramShare = 1250.0 / 1264
	accuracy      = 0.03
	queueTime     = 60 * time.Millisecond
)

// shaped is a link with a switch in its middle, which passes that rate in bit/s each way and has a queue of queueTime: in the
// network, where the bottleneck of a radio link is, and not in the host, whose kernel stamps packets behind its own queue.
// Reno is in every kernel and fills a queue.
func shaped(t *testing.T, rate int) link {
	t.Helper()
	l := newLink(t)
	middle := fmt.Sprintf("nrp-middle-%d", os.Getpid())
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", middle).Run() })
	// The bucket holds four milliseconds, so that a timer that is late by less costs nothing, but no less than six frames. The
	// best second of a capacity may have it on top: 0.7 % at 10 Mbit/s, 0.4 % at others.
	burst := max(rate/8/250, 6*1514)
	limit := int(float64(rate) / 8 * queueTime.Seconds())
	shape := fmt.Sprintf("root tbf rate %dbit burst %d limit %d", rate, burst, limit)
	for _, line := range []string{
		"ip netns add " + middle,
		"ip -n " + l.near + " link del wwan0",
		"ip link add wwan0 netns " + l.near + " type veth peer name near netns " + middle,
		"ip link add eth0 netns " + l.far + " type veth peer name far netns " + middle,
		"ip -n " + middle + " link add switch type bridge",
		"ip -n " + middle + " link set near master switch up",
		"ip -n " + middle + " link set far master switch up",
		"ip -n " + middle + " link set switch up",
		"ip -n " + l.near + " addr add 10.77.0.1/24 dev wwan0",
		"ip -n " + l.far + " addr add 10.77.0.2/24 dev eth0",
		"ip -n " + l.near + " link set wwan0 up",
		"ip -n " + l.far + " link set eth0 up",
		"tc -n " + middle + " qdisc add dev near " + shape,
		"tc -n " + middle + " qdisc add dev far " + shape,
		"ip netns exec " + l.near + " sysctl -q -w net.ipv4.tcp_congestion_control=reno",
		"ip netns exec " + l.far + " sysctl -q -w net.ipv4.tcp_congestion_control=reno",
	} {
		argv := strings.Fields(line)
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	start(t, in(l.far, program(t), "reflector", "--data", t.TempDir())...).waitFor(t, "ready", patience)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	return l
}

// probe measures once and returns what came out.
func (l link) probe(t *testing.T, args ...string) *probes.Result {
	t.Helper()
	argv := append([]string{program(t), "probe"}, args...)
	stdout, stderr, code := run(t, in(l.near, append(argv, "--json")...)...)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	return result(t, stdout)
}

// checkRate holds a rate in bytes per second against the truth in bit/s.
func checkRate(t *testing.T, what string, got float64, r *probes.Result, truth float64) {
	t.Helper()
	off := 8*got/truth - 1
	t.Logf("%s: %.3f Mbit/s, %+.2f %% off the truth of %.3f (flags %q)", what, 8*got/1e6, 100*off, truth/1e6, r.Quality)
	checkOff(t, what, off, accuracy, r.Quality)
}

// late are the flags by which a result says that a host was too busy to measure.
const late = probes.ScheduleLate | probes.CPUStarved | probes.FarEndLate

// checkOff holds an error against what is allowed. A host that is too busy to measure may be further off, where the result says
// so.
func checkOff(t *testing.T, what string, off, allowed float64, flags probes.Quality) {
	t.Helper()
	switch {
	case math.Abs(off) <= allowed:
	case flags&late != 0:
		t.Logf("%s is off by %.2f %%, and the result says itself that it is not to be trusted: %s", what, 100*off, flags&late)
	default:
		t.Errorf("%s is off by %.2f %%, want %.0f %% at most", what, 100*off, 100*allowed)
	}
}

// accurate measures a shaped link both ways, by TCP and by UDP.
func accurate(t *testing.T, rate int) {
	l := shaped(t, rate)
	for _, way := range []string{"down", "up"} {
		r := l.probe(t, "throughput", "10.77.0.2", "--direction", way, "--streams", "2", "--duration", "3s")
		checkRate(t, "goodput "+way, r.Values["goodput_"+way+"_bytes_per_second"], r, float64(rate)*goodputShare)
		if ramp := r.Values["ramp_"+way+"_seconds"]; ramp > 1 && r.Quality&late == 0 {
			t.Errorf("a ramp of %v s", ramp)
		}
		r = l.probe(t, "capacity", "10.77.0.2", "--direction", way, "--duration", "3s", "--initial-rate", fmt.Sprintf("%dbit/s", rate/2))
		checkRate(t, "capacity "+way, r.Values["ip_capacity_"+way+"_bytes_per_second"], r, float64(rate)*datagramShare)
	}
}

// TestNetnsAccuracy has the rates that a busy machine can keep, too.
func TestNetnsAccuracy(t *testing.T) {
	for _, rate := range []int{10e6, 100e6} {
		t.Run(fmt.Sprintf("%d Mbit per s", rate/1e6), func(t *testing.T) { accurate(t, rate) })
	}
}

// TestAccuracyOfFastLinks needs a quiet machine: a shaper whose timer comes late by more than its bucket holds has another
// rate than it was told.
func TestAccuracyOfFastLinks(t *testing.T) {
	for _, rate := range []int{500e6, 1000e6} {
		t.Run(fmt.Sprintf("%d Mbit per s", rate/1e6), func(t *testing.T) { accurate(t, rate) })
	}
}

// TestNetnsAddedDelay loads a link whose queue is known: TCP fills it to the brim again and again, and the longest round
// trips that STAMP sees meanwhile are the idle ones and the queue.
func TestNetnsAddedDelay(t *testing.T) {
	const rate = 20e6
	l := shaped(t, rate)
	stamp := func(seconds string) *probes.Result {
		return l.probe(t, "stamp", "10.77.0.2", "--interval", "5ms", "--duration", seconds)
	}
	idle := stamp("1s").Values["rtt_min_seconds"]
	for _, way := range []string{"down", "up"} {
		argv := in(l.near, program(t), "probe", "throughput", "10.77.0.2", "--direction", way, "--streams", "4", "--duration", "5s", "--json")
		load := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		var out strings.Builder
		load.Stdout = &out
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		loaded := stamp("4s")
		if err := load.Wait(); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		added := loaded.Values["rtt_p99_seconds"] - idle
		off := added/queueTime.Seconds() - 1
		t.Logf("%s: %.2f ms added to %.2f ms, %+.2f %% off the queue of %v (flags %q); TCP says %.2f ms on average", way, 1e3*added, 1e3*idle,
			100*off, queueTime, loaded.Quality, 1e3*result(t, out.String()).Values["buffer_delay_"+way+"_seconds"])
		checkOff(t, "the delay added "+way, off, 0.05, loaded.Quality)
	}
}
