//go:build !linux

package load

import "net"

// Receive counts what arrives on c until it ends or fails.
func Receive(c net.Conn, received *Counter) error {
	return Drain(c, make([]byte, BlockSize), received)
}
