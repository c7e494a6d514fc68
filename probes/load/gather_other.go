//go:build !linux

package load

import "net"

// Gather returns pc: other systems hand over datagrams one by one.
func Gather(pc net.PacketConn) net.PacketConn { return pc }
