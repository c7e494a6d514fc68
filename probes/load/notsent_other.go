//go:build !linux

package load

import "net"

// KeepShort has an effect on Linux only.
func KeepShort(net.Conn) {}
