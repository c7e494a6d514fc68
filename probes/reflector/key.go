package reflector

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/probes/farend"
)

// answer is how STAMP is to be answered. It reads the key and never tells it.
func (c *STAMP) answer(s farend.Service, log *slog.Logger) (func(context.Context, net.PacketConn) error, error) {
	if c.Key == "" && c.KeyFile == "" && !c.Stateless {
		return s.Packets, nil
	}
	if s.PacketsAs == nil {
		return nil, fmt.Errorf("stamp: service %s knows neither keys nor the stateless mode", s.Name)
	}
	key, err := c.secret(log)
	if err != nil {
		return nil, fmt.Errorf("stamp: key_file: %w", err)
	}
	return s.PacketsAs(farend.STAMP{Key: key, Stateless: c.Stateless}), nil
}

func (c *STAMP) secret(log *slog.Logger) ([]byte, error) {
	key, err := configs.Secret(c.Key, c.KeyFile)
	if err != nil || c.KeyFile == "" {
		return []byte(key), err
	}
	if len(key) < farend.MinKey {
		return nil, fmt.Errorf("%s holds %d bytes: STAMP needs %d or more, such as openssl rand -hex 16 gives", c.KeyFile, len(key), farend.MinKey)
	}
	info, err := os.Stat(c.KeyFile)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		log.Warn("others on this machine may read the STAMP key", "key_file", c.KeyFile, "remedy", "chmod 600 "+c.KeyFile)
	}
	return []byte(key), nil
}
