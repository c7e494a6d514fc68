//go:build bench

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// contender is a program that loads the link, and how its output is read.
type contender struct {
	name   string
	server *daemon
	argv   []string
	up     bool // whether the client sends
	read   func(t *testing.T, stdout string) float64
}

// feat is what one run of a contender did. Times are of the processor, in seconds, as the kernel charged them to the two
// processes: what an interrupt did it charges to whoever ran at the time.
type feat struct {
	rate           float64 // bits or packets per second
	client, server float64
	seconds        float64
	up             bool
}

// receiverPerGbit is how many seconds of a processor the receiving process took for 10^9 bits.
func (f feat) receiverPerGbit() float64 {
	receiver := f.client
	if f.up {
		receiver = f.server
	}
	return receiver / max(f.rate*f.seconds/1e9, 1e-9)
}

// contest is a row of contenders that are run in turn, and what is asked of their rates and of their processor time.
type contest struct {
	title      string
	contenders []contender
	scale      float64 // from the rate to the unit that is printed
	unit       string
	ratios     []ratio
}

// ratio is one contender's figure over another's, and what is wanted of it.
type ratio struct {
	over, under int
	what        string
	of          func(feat) float64
	wanted      string
}

func rateOf(f feat) float64 { return f.rate }

const throughputRounds = 5

// TestBenchThroughput prints rates, and what they cost, of nrprobe and its peers over a veth pair, in turns, so that what the
// machine does meanwhile meets all of them. It asserts nothing: machines differ. With -short it runs each of them once for a
// second, to see that it works.
func TestBenchThroughput(t *testing.T) {
	rounds, length := throughputRounds, 4*time.Second
	if testing.Short() {
		rounds, length = 1, time.Second
	}
	l := newLink(t)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	b := &bench{
		near: l.near, length: length,
		nrprobe: start(t, in(l.far, program(t), "reflector", "--data", t.TempDir())...),
		iperf3:  start(t, in(l.far, "iperf3", "--server", "--forceflush")...),
		bare:    startBare(t, l),
	}
	b.nrprobe.waitFor(t, "ready", 20*time.Second)
	b.iperf3.waitFor(t, "listening", 20*time.Second)
	busy, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\n%d rounds of %v on %d processors; load average before: %s", rounds, length, runtime.NumCPU(), busy)
	for _, c := range b.contests(t) {
		got := make([][]feat, len(c.contenders))
		for range rounds {
			for i, x := range c.contenders {
				got[i] = append(got[i], b.run(t, x))
			}
		}
		c.print(got)
	}
}

// bench is the two ends.
type bench struct {
	near                  string
	length                time.Duration
	nrprobe, iperf3, bare *daemon
}

func (b *bench) contests(t *testing.T) []contest {
	var all []contest
	for _, way := range []string{"down", "up"} {
		for _, streams := range []int{1, 4} {
			wanted := map[int]string{1: "≥ 1.15", 4: "≥ 1.0"}[streams]
			all = append(all, contest{
				title: fmt.Sprintf("TCP %s, %d streams", way, streams), scale: 1e-9, unit: "Gbit/s",
				contenders: []contender{b.throughput(t, way, "tcp", streams), b.iperfTCP(way, streams)},
				ratios: []ratio{
					{0, 1, "rate", rateOf, wanted},
					{0, 1, "receiver's processor time per Gbit", feat.receiverPerGbit, "≤ 1.0"},
				},
			})
		}
	}
	for _, way := range []string{"down", "up"} {
		four := b.throughput(t, way, "quic", 4)
		four.name = "nrprobe, 4 connections"
		all = append(all, contest{
			title: "QUIC " + way + ", one stream each connection", scale: 1e-9, unit: "Gbit/s",
			contenders: []contender{b.throughput(t, way, "quic", 1), b.bareQUIC(way), four},
			ratios:     []ratio{{0, 1, "rate", rateOf, "≥ 0.95"}, {2, 0, "rate, 4 connections to 1", rateOf, "≥ 1.2"}},
		})
	}
	for _, way := range []string{"down", "up"} {
		all = append(all, contest{
			title: fmt.Sprintf("UDP %s, datagrams of %d bytes, as many as arrive", way, datagramSize), scale: 1e-3, unit: "k/s",
			contenders: []contender{b.capacity(t, way), b.iperfUDP(way)},
			ratios:     []ratio{{0, 1, "datagrams", rateOf, "≥ 8"}},
		})
	}
	return all
}

// datagramSize is the UDP payload, for both: the most that nrprobe sends.
const datagramSize = 1222

func (b *bench) throughput(t *testing.T, way, transport string, n int) contender {
	argv := []string{
		program(t), "probe", "throughput", "10.77.0.2", "--direction", way, "--transport", transport,
		"--duration", b.length.String(), "--json",
	}
	if transport == "tcp" {
		argv = append(argv, "--streams", strconv.Itoa(n))
	} else {
		argv = append(argv, "--streams", "1", "--connections", strconv.Itoa(n))
	}
	return contender{"nrprobe", b.nrprobe, argv, way == "up", func(t *testing.T, out string) float64 {
		return 8 * result(t, out).Values["goodput_"+way+"_bytes_per_second"]
	}}
}

// capacity begins at 10 Gbit/s: the search takes five seconds from the bottom of its table to 1 Gbit/s.
func (b *bench) capacity(t *testing.T, way string) contender {
	argv := []string{
		program(t), "probe", "capacity", "10.77.0.2", "--direction", way, "--duration", b.length.String(),
		"--initial-rate", "10Gbit/s", "--size", strconv.Itoa(datagramSize), "--json",
	}
	return contender{"nrprobe", b.nrprobe, argv, way == "up", func(t *testing.T, out string) float64 {
		return result(t, out).Values["packets_received"] / b.length.Seconds()
	}}
}

func (b *bench) iperf(way string, more ...string) []string {
	argv := append([]string{"iperf3", "--client", "10.77.0.2", "--json", "--time", fmt.Sprint(b.length.Seconds())}, more...)
	if way == "down" {
		argv = append(argv, "--reverse")
	}
	return argv
}

// iperfReport is the part of iperf3's report that is compared. Its UDP sum counts what was sent.
type iperfReport struct {
	End struct {
		Received struct {
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
		Sum struct {
			Seconds float64 `json:"seconds"`
			Packets float64 `json:"packets"`
			Lost    float64 `json:"lost_packets"`
		} `json:"sum"`
	} `json:"end"`
}

func readIperf(t *testing.T, out string) (r iperfReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("iperf3: %v\n%s", err, out)
	}
	return r
}

func (b *bench) iperfTCP(way string, streams int) contender {
	argv := b.iperf(way, "--parallel", strconv.Itoa(streams))
	return contender{"iperf3", b.iperf3, argv, way == "up", func(t *testing.T, out string) float64 {
		return readIperf(t, out).End.Received.BitsPerSecond
	}}
}

func (b *bench) iperfUDP(way string) contender {
	argv := b.iperf(way, "--udp", "--bitrate", "0", "--length", strconv.Itoa(datagramSize))
	return contender{"iperf3 -u -b 0", b.iperf3, argv, way == "up", func(t *testing.T, out string) float64 {
		sum := readIperf(t, out).End.Sum
		return (sum.Packets - sum.Lost) / max(sum.Seconds, 1e-9)
	}}
}

// run runs a contender once. One that fails has done nothing.
func (b *bench) run(t *testing.T, c contender) feat {
	t.Helper()
	argv := in(b.near, c.argv...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	before := processorTime(t, c.server.cmd.Process.Pid)
	out, err := cmd.Output()
	if err != nil {
		t.Logf("%s: %v: %s", c.name, err, out)
		return feat{up: c.up}
	}
	return feat{
		rate: c.read(t, string(out)), up: c.up, seconds: b.length.Seconds(),
		client: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(),
		server: processorTime(t, c.server.cmd.Process.Pid) - before,
	}
}

// processorTime is how many seconds a process has had of all processors: utime and stime of proc_pid_stat(5), of all its
// threads, in hundredths.
func processorTime(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	const utime, stime = 11, 12 // behind the name
	ticks := 0.0
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100
}

// medianOf is the median over all rounds.
func medianOf(rounds []feat, of func(feat) float64) float64 {
	var values []float64
	for _, f := range rounds {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func (c contest) print(got [][]feat) {
	fmt.Printf("\n%s, median of %d\n%-24s %12s %10s %10s %16s\n", c.title, len(got[0]), "", c.unit, "client CPU", "server CPU", "receiver s/Gbit")
	for i, x := range c.contenders {
		share := func(of func(feat) float64) float64 {
			return 100 * medianOf(got[i], func(f feat) float64 { return of(f) / max(f.seconds, 1e-9) })
		}
		fmt.Printf("%-24s %12.2f %9.0f%% %9.0f%%", x.name, c.scale*medianOf(got[i], rateOf),
			share(func(f feat) float64 { return f.client }), share(func(f feat) float64 { return f.server }))
		if c.unit == "Gbit/s" {
			fmt.Printf(" %16.4f", medianOf(got[i], feat.receiverPerGbit))
		}
		fmt.Println()
	}
	for _, r := range c.ratios {
		q := medianOf(got[r.over], r.of) / medianOf(got[r.under], r.of)
		fmt.Printf("  %s: %s to %s %.2f (wanted %s)\n", r.what, c.contenders[r.over].name, c.contenders[r.under].name, q, r.wanted)
	}
}
