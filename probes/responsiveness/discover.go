package responsiveness

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
)

// wellKnown is where a server says what there is to measure against.
const wellKnown = "/.well-known/nq"

// maxConfiguration is the largest configuration that is read; usual ones have 500 bytes.
const maxConfiguration = 64 << 10

// configuration is the JSON object at wellKnown. The draft has the first three keys; its early versions, and clients that
// follow them, had the other three.
type configuration struct {
	Version int `json:"version"`
	URLs    struct {
		Small    string `json:"small_download_url"`
		Large    string `json:"large_download_url"`
		Upload   string `json:"upload_url"`
		OldSmall string `json:"small_https_download_url"`
		OldLarge string `json:"large_https_download_url"`
		OldUp    string `json:"https_upload_url"`
	} `json:"urls"`
	// Endpoint is a host to connect to instead of the one in the URLs; "" for that one.
	Endpoint string `json:"test_endpoint,omitempty"`
	// Leases is our own key: true where a lease can be had on the plain TCP port.
	Leases bool `json:"nrprobe_leases,omitempty"`
}

// resources is what a configuration offers.
type resources struct {
	small, large, upload *url.URL
	endpoint             string
	leases               bool // it is a reflector of ours, which grants leases
}

var errConfiguration = errors.New("no configuration of a responsiveness server")

// parseConfiguration reads a configuration by the rules of the draft: another version than 1 is not to be used, and all
// URLs have the same host.
func parseConfiguration(text []byte) (r resources, err error) {
	var c configuration
	if err := json.Unmarshal(text, &c); err != nil {
		return r, fmt.Errorf("%w: %w", errConfiguration, err)
	}
	if c.Version != 1 {
		return r, fmt.Errorf("%w: version %d, want 1", errConfiguration, c.Version)
	}
	for _, x := range []struct {
		to       **url.URL
		name     string
		new, old string
	}{
		{&r.small, "small_download_url", c.URLs.Small, c.URLs.OldSmall},
		{&r.large, "large_download_url", c.URLs.Large, c.URLs.OldLarge},
		{&r.upload, "upload_url", c.URLs.Upload, c.URLs.OldUp},
	} {
		text := x.new
		if text == "" {
			text = x.old
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			return r, fmt.Errorf("%w: %s is %q, want an https URL", errConfiguration, x.name, text)
		}
		*x.to = u
		if r.small.Hostname() != u.Hostname() {
			return r, fmt.Errorf("%w: the URLs name the hosts %s and %s, want one", errConfiguration, r.small.Hostname(), u.Hostname())
		}
	}
	r.endpoint, r.leases = c.Endpoint, c.Leases
	return r, nil
}
