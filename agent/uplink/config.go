package uplink

import (
	"net/url"
	"time"

	"github.com/nrprobe/nrprobe/configs"
	"github.com/nrprobe/nrprobe/configs/unit"
	"github.com/nrprobe/nrprobe/probes/trust"
)

// Config is the section "uplink" of agent.yaml.
type Config struct {
	URL        string        `yaml:"url" help:"address of a collector, InfluxDB or any other server with the InfluxDB v2 write API; without it results are only on /metrics"`
	Org        string        `yaml:"org" help:"organisation, for InfluxDB 2 and later"`
	Bucket     string        `yaml:"bucket" help:"bucket; database/retention-policy for InfluxDB 1.8"`
	Token      string        `yaml:"token" help:"token that may write to the bucket; user:password for InfluxDB 1.8"`
	TokenFile  string        `yaml:"token_file" help:"file that holds the token"`
	CA         string        `yaml:"ca" help:"file with the certificates of the authorities to trust instead of the host's"`
	Pin        string        `yaml:"pin" help:"SHA-256 of the server's certificate, in place of an authority"`
	Insecure   bool          `yaml:"insecure" help:"take any certificate: whoever is on the path can read and change results and the token"`
	Interface  string        `yaml:"interface" help:"network interface to deliver over; the default route when empty"`
	Gzip       bool          `yaml:"gzip" help:"compress what is delivered"`
	BatchBytes unit.Bytes    `yaml:"batch_bytes" help:"how much is delivered at once, before compression" min:"4KiB" max:"16MiB"`
	Interval   time.Duration `yaml:"interval" help:"time between two deliveries while there is less than a batch; longer lets the radio rest" min:"0s" max:"1h"`
	Timeout    time.Duration `yaml:"timeout" help:"how long one delivery may take" min:"1s" max:"10m"`
	RetryMax   time.Duration `yaml:"retry_max" help:"longest pause between two attempts while the server cannot be reached" min:"1s" max:"1h"`
}

// Default is the section as it is without a file. 256 KiB are about 200 results, some 30 KiB compressed: seconds on a
// poor link, so that an attempt that breaks off costs little.
func Default() Config {
	return Config{
		Bucket: "nr", Gzip: true, BatchBytes: 256 << 10,
		Interval: 5 * time.Second, Timeout: 30 * time.Second, RetryMax: time.Minute,
	}
}

// Validate implements configs.Validator.
func (c *Config) Validate(r *configs.Report, at configs.At) {
	if c.URL == "" {
		return
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		r.Problem(at, "url", "is not the address of a server: write it like https://collector.example:8086")
		return
	case u.User != nil:
		r.Problem(at, "url", "holds a user name: put user:password into token instead")
	case u.RawQuery != "" || u.Fragment != "":
		r.Problem(at, "url", "holds more than scheme, host, port and path: use org and bucket for those")
	}
	if c.Bucket == "" {
		r.Problem(at, "bucket", "is empty: name the bucket to write to")
	}
	if c.Token != "" && c.TokenFile != "" {
		r.Problem(at, "token_file", "token is given too: keep one")
	}
	c.validateTrust(r, at, u.Scheme)
}

func (c *Config) validateTrust(r *configs.Report, at configs.At, scheme string) {
	ways := 0
	for _, way := range []struct {
		key   string
		given bool
	}{{"ca", c.CA != ""}, {"pin", c.Pin != ""}, {"insecure", c.Insecure}} {
		if !way.given {
			continue
		}
		if ways++; scheme == "http" {
			r.Problem(at, way.key, "has no meaning with an http:// address: use https://")
		}
	}
	if ways > 1 {
		r.Problem(at, "", "ca, pin and insecure exclude each other: keep one way to trust the server")
	}
	if c.Pin != "" {
		if _, err := trust.ParsePin(c.Pin); err != nil {
			r.Problem(at, "pin", err.Error())
		}
	}
}
