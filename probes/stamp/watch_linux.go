package stamp

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// hostReaders read what the kernel says in /proc. Android tells applications less.
func hostReaders() readers {
	return readers{processorWait: processorWait, interfaceOf: interfaceOf, octets: interfaceOctets}
}

// processorWait adds up the run delays of all threads (Documentation/scheduler/sched-stats.rst): how long each was ready
// to run, and waited for a processor or for the quota of its control group. ok is false where the kernel does not count.
func processorWait() (sum time.Duration, ok bool) {
	files, err := filepath.Glob("/proc/self/task/*/schedstat")
	if err != nil {
		return 0, false
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		if d, good := parseRunDelay(text); good {
			sum, ok = sum+d, true
		}
	}
	return sum, ok
}

// parseRunDelay reads the second of the three numbers of a schedstat file.
func parseRunDelay(text []byte) (time.Duration, bool) {
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, false
	}
	ns, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return time.Duration(ns), err == nil && ns >= 0
}

func interfaceOf(local netip.Addr) string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range list {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				if addr, _ := netip.AddrFromSlice(p.IP); addr.Unmap() == local.Unmap().WithZone("") {
					return i.Name
				}
			}
		}
	}
	return ""
}

// interfaceOctets reads the counters of the network namespace that the process is in, which /sys need not show.
func interfaceOctets(name string) (traffic, bool) {
	text, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return traffic{}, false
	}
	return parseOctets(text, name)
}

// parseOctets finds the line of an interface: its name, a colon, eight numbers of what was received and eight of what was
// sent, each beginning with bytes.
func parseOctets(text []byte, name string) (traffic, bool) {
	for line := range bytes.Lines(text) {
		key, numbers, ok := bytes.Cut(line, []byte(":"))
		if !ok || string(bytes.TrimSpace(key)) != name {
			continue
		}
		const sentBytes = 8
		fields := bytes.Fields(numbers)
		if len(fields) <= sentBytes {
			return traffic{}, false
		}
		down, err := strconv.ParseUint(string(fields[0]), 10, 64)
		if err != nil {
			return traffic{}, false
		}
		up, err := strconv.ParseUint(string(fields[sentBytes]), 10, 64)
		return traffic{up: float64(up), down: float64(down)}, err == nil
	}
	return traffic{}, false
}
