//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// realIperf3 finds the real iperf3.
func realIperf3(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("iperf3")
	if err != nil {
		t.Fatal("iperf3 is not installed (Debian package iperf3): it is the peer of this test")
	}
	return path
}

// iperf3Reflector starts a reflector that answers iperf3 clients, and returns their port.
func iperf3Reflector(t *testing.T) int {
	t.Helper()
	port := freePort(t)
	config := write(t, t.TempDir(), "reflector.yaml", fmt.Sprintf(
		"{stamp: {listen: []}, streams: {listen: []}, tls: {listen: []}, quic: {listen: []}, iperf3: {listen: [\"127.0.0.1:%d\"]}}\n", port))
	start(t, program(t), "reflector", "-c", config).waitFor(t, `ready.*iperf3=\[127\.0\.0\.1:`, patience)
	return port
}

// iperf3Sum is a sum of all streams in the output of iperf3 -J.
type iperf3Sum struct {
	Bytes       float64 `json:"bytes"`
	Packets     float64 `json:"packets"`
	LostPackets float64 `json:"lost_packets"`
}

// iperf3Report is what there is to hold against each other in the output of iperf3 -J. The reverse sums are those of --bidir.
type iperf3Report struct {
	Error string `json:"error"`
	End   struct {
		Streams            []json.RawMessage `json:"streams"`
		SumSent            iperf3Sum         `json:"sum_sent"`
		SumReceived        iperf3Sum         `json:"sum_received"`
		SumSentReverse     iperf3Sum         `json:"sum_sent_bidir_reverse"`
		SumReceivedReverse iperf3Sum         `json:"sum_received_bidir_reverse"`
		Sum                iperf3Sum         `json:"sum"`
		CongestionSender   string            `json:"sender_tcp_congestion"`
		CongestionReceiver string            `json:"receiver_tcp_congestion"`
	} `json:"end"`
	ServerOutput string `json:"server_output_text"`
}

// iperf3Client runs the real iperf3 against a port.
func iperf3Client(t *testing.T, port int, mode string) iperf3Report {
	t.Helper()
	argv := append([]string{realIperf3(t), "-c", "127.0.0.1", "-p", strconv.Itoa(port), "-J"}, strings.Fields(mode)...)
	stdout, stderr, code := run(t, argv...)
	var r iperf3Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Error != "" || code != 0 {
		t.Errorf("iperf3 %s: exit code %d, error %q, %v\n%s", mode, code, r.Error, err, stderr)
	}
	return r
}

// TestIperf3Clients runs the real iperf3 against nrprobe reflector, in all its modes.
func TestIperf3Clients(t *testing.T) {
	port := iperf3Reflector(t)
	for _, c := range []struct {
		mode    string
		streams int
	}{
		{"-t 1", 1},
		{"-t 1 -R", 1},
		{"-t 1 --bidir", 2},
		{"-t 1 -P 4", 4},
		{"-t 1 -P 4 -R", 4},
		{"-t 1 -P 4 --bidir", 8},
		{"-t 1 -O 1 -R", 1},
		{"-t 1 -b 50M", 1},
		{"-t 1 -b 50M -R", 1},
		{"-t 1 -C reno -R", 1},
		{"-t 1 -l 1K -N -w 64K -M 1000", 1},
		{"-t 1 --get-server-output", 1},
		{"-n 40M", 1},
		{"-n 40M -R", 1},
		{"-n 40M -P 4 -R", 4},
		{"-k 300", 1},
		{"-k 300 -R", 1},
		{"-k 300 --bidir", 2},
		{"-u -b 20M -t 1", 1},
		{"-u -b 20M -t 1 -R", 1},
		{"-u -b 20M -t 1 --bidir", 2},
		{"-u -b 5M -t 1 -P 4", 4},
		{"-u -b 5M -t 1 -P 4 -R", 4},
		{"-u -b 5M -t 1 -O 1 -l 1200", 1},
		{"-u -b 5M -t 1 --udp-counters-64bit -R", 1},
		{"-u -b 0 -t 1", 1},
		{"-u -b 50M -n 5M", 1},
		{"-u -b 50M -n 5M -R", 1},
		{"-u -b 0 -n 40M -R", 1}, // more than arrives
		{"-u -b 50M -k 500 --bidir", 2},
	} {
		t.Run(c.mode, func(t *testing.T) {
			r := iperf3Client(t, port, c.mode)
			if len(r.End.Streams) != c.streams {
				t.Errorf("%d streams, want %d", len(r.End.Streams), c.streams)
			}
			switch {
			case strings.Contains(c.mode, "-u"):
				if r.End.Sum.Packets == 0 || r.End.Sum.LostPackets >= r.End.Sum.Packets {
					t.Errorf("%v datagrams, %v lost", r.End.Sum.Packets, r.End.Sum.LostPackets)
				}
			case r.End.SumSent.Bytes == 0 || r.End.SumReceived.Bytes == 0:
				t.Errorf("%v bytes sent, %v received", r.End.SumSent.Bytes, r.End.SumReceived.Bytes)
			case strings.Contains(c.mode, "--bidir") && (r.End.SumSentReverse.Bytes == 0 || r.End.SumReceivedReverse.Bytes == 0):
				t.Errorf("back: %v bytes sent, %v received", r.End.SumSentReverse.Bytes, r.End.SumReceivedReverse.Bytes)
			}
			if strings.Contains(c.mode, "-C reno") && r.End.CongestionSender != "reno" {
				t.Errorf("congestion control %q, want reno", r.End.CongestionSender)
			}
			if strings.Contains(c.mode, "get-server-output") && r.ServerOutput == "" {
				t.Error("no output of the server")
			}
		})
	}
}

// TestIperf3VolumeEnds: iperf3 does not count what arrives before it has read that the test runs, so that a server which
// stopped at the volume by its own count would leave it waiting.
func TestIperf3VolumeEnds(t *testing.T) {
	port := iperf3Reflector(t)
	for range 20 {
		r := iperf3Client(t, port, "--bidir -n 40M")
		if sent, received := r.End.SumSent.Bytes, r.End.SumReceivedReverse.Bytes; max(sent, received) < 40e6 {
			t.Errorf("%v bytes there, %v back", sent, received)
		}
	}
}

// TestIperf3ClientsAtOnce is what the server of iperf3 itself cannot do.
func TestIperf3ClientsAtOnce(t *testing.T) {
	port := iperf3Reflector(t)
	var clients sync.WaitGroup
	for _, mode := range []string{"-t 2 -P 2", "-t 2 -R", "-t 2 --bidir", "-t 2 -u -b 5M -P 3", "-t 2 -u -b 5M -R", "-t 2 -u -b 5M --bidir"} {
		clients.Go(func() { iperf3Client(t, port, mode) })
	}
	clients.Wait()
}

// TestIperf3Servers measures against the real iperf3 -s in all modes.
func TestIperf3Servers(t *testing.T) {
	path := realIperf3(t)
	for _, transport := range []string{"tcp", "udp"} {
		for _, direction := range []string{"down", "up", "both"} {
			for _, args := range []string{"--duration 1s", "--duration 1s --streams 4 --omit 1s", "--max-bytes 4MB"} {
				t.Run(transport+" "+direction+" "+args, func(t *testing.T) {
					port := freePort(t)
					// One test each: between two of them iperf3 does not listen for a moment.
					start(t, path, "-s", "-1", "-B", "127.0.0.1", "-p", strconv.Itoa(port), "--forceflush").waitFor(t, "Server listening", patience)
					argv := []string{program(t), "probe", "iperf3", fmt.Sprintf("127.0.0.1:%d", port), "--transport", transport, "--direction", direction, "--rate", "20Mbit/s", "--json"}
					stdout, stderr, code := run(t, append(argv, strings.Fields(args)...)...)
					if code != 0 {
						t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
					}
					r := result(t, stdout)
					for _, way := range []string{"down", "up"} {
						rate, bytes := r.Values["goodput_"+way+"_bytes_per_second"], r.Values["transferred_"+way+"_bytes"]
						if want := way == direction || direction == "both"; want != (rate > 0 && bytes > 0) {
							t.Errorf("%s: %v bytes at %v bytes/s", way, bytes, rate)
						}
					}
					if transport == "udp" && (r.Values["packets_sent"] == 0 || r.Values["packets_lost"] >= r.Values["packets_sent"]) {
						t.Errorf("%v datagrams sent, %v lost", r.Values["packets_sent"], r.Values["packets_lost"])
					}
					if want := map[bool]string{true: "max_bytes", false: "duration"}[strings.Contains(args, "max-bytes")]; r.Info["ended_by"] != want {
						t.Errorf("ended by %q, want %q", r.Info["ended_by"], want)
					}
				})
			}
		}
	}
}
