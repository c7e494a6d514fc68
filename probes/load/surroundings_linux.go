package load

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// HostReaders read what the kernel says in /proc. Android tells applications less.
func HostReaders() Readers {
	return Readers{InterfaceOf: interfaceOf, Octets: interfaceOctets, ProcessorWait: processorWait}
}

// interfaceOf looks for an address among those of all interfaces but the loopback one.
func interfaceOf(local netip.Addr) string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == local.WithZone("") {
				return i.Name
			}
		}
	}
	return ""
}

// interfaceOctets reads the counters of the network namespace that the process is in (proc_pid_net(5)).
func interfaceOctets(name string) (Octets, bool) {
	text, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return Octets{}, false
	}
	return parseOctets(text, name)
}

// parseOctets finds the line of an interface: name, colon, eight numbers of what was received, eight of what was sent. The
// first of each are bytes.
func parseOctets(text []byte, name string) (Octets, bool) {
	for line := range bytes.Lines(text) {
		key, numbers, found := bytes.Cut(line, []byte(":"))
		if !found || string(bytes.TrimSpace(key)) != name {
			continue
		}
		fields := bytes.Fields(numbers)
		if len(fields) < 9 {
			return Octets{}, false
		}
		down, downErr := strconv.ParseUint(string(fields[0]), 10, 64)
		up, upErr := strconv.ParseUint(string(fields[8]), 10, 64)
		return Octets{Up: float64(up), Down: float64(down)}, downErr == nil && upErr == nil
	}
	return Octets{}, false
}

// processorWait adds up the second numbers of the threads' schedstat (Documentation/scheduler/sched-stats.rst). Threads that
// have ended take theirs along.
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
		if fields := bytes.Fields(text); len(fields) > 1 {
			if ns, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil && ns >= 0 {
				sum, ok = sum+time.Duration(ns), true
			}
		}
	}
	return sum, ok
}
