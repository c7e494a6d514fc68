//go:build !linux

package stamp

import (
	"fmt"
	"net"
	"runtime"
)

// openMTUSocket takes the connection over.
func openMTUSocket(conn net.Conn) (mtuSocket, error) {
	if _, host := conn.(*net.UDPConn); host {
		return nil, fmt.Errorf("path_mtu: nrprobe can search for it on Linux and Android only, not on %s: leave it away", runtime.GOOS)
	}
	return &plainMTUSocket{conn: conn, buffer: make([]byte, maxPacketSize)}, nil
}
