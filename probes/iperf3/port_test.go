package iperf3

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// lastPort counts the ports that tests of this process have had.
var lastPort atomic.Uint32

// quietPort is an address on which nobody listens, over TCP or UDP, with a port below those that kernels give to who does
// not care (from 32768 on Linux and 49152 elsewhere): nobody is given it before the program takes it that it is for.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 10_000 + (uint32(os.Getpid())*64+lastPort.Add(1))%20_000
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", address)
		if closeErr := l.Close(); closeErr != nil {
			t.Fatal(closeErr)
		}
		if err == nil {
			_ = pc.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
