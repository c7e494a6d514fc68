//go:build !linux

package spool

import "testing"

func smallDisk(t *testing.T) string {
	t.Helper()
	t.Skip("a small file system is made on Linux only")
	return ""
}
