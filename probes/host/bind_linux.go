package host

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/nrprobe/nrprobe/probes"
)

// bindToDevice restricts a fresh socket to one interface (SO_BINDTODEVICE, socket(7)).
func bindToDevice(c syscall.RawConn, name string) error {
	var err error
	if controlErr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptString(int(fd), syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, name)
	}); controlErr != nil {
		return controlErr
	}
	return explainBind(name, err)
}

func explainBind(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.EINVAL): // EINVAL: longer than a name can be
		return noSuchInterface(name)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return &probes.Failure{Outcome: probes.Error, Err: fmt.Errorf("binding to interface %s: %w: "+
			"kernels before 5.7 want the capability CAP_NET_RAW for it: run as root, or grant it with setcap cap_net_raw+ep or AmbientCapabilities=CAP_NET_RAW", name, errDenied)}
	default:
		return fmt.Errorf("binding to interface %s: %w", name, err)
	}
}
