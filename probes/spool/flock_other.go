//go:build !unix

package spool

import (
	"errors"
	"os"
)

// flock cannot lock here.
func flock(*os.File) error { return errors.ErrUnsupported }
