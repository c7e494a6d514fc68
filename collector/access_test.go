package collector

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	vanToken      = "van-token-0123456789"
	operatorToken = "operator-token-0123456789"
	readerToken   = "reader-token-0123456789"
)

func withTokens(t *testing.T) func(*Config) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	text := `tokens:
  - {name: van, token: ` + vanToken + `, access: [write], buckets: [nr], agent: "van-*"}
  - {name: operator, token: ` + operatorToken + `}
  - {name: reader, token: ` + readerToken + `, access: [read]}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.TokensFile = path }
}

func TestTokens(t *testing.T) {
	c := start(t, t.TempDir(), withTokens(t))
	van, other := lines(result("van-01", 1, time.Now())), lines(result("truck-01", 1, time.Now()))
	for _, one := range []struct {
		name, path, token string
		body              []byte
		status            int
		want              string
	}{
		{"no token", "/api/v2/write?bucket=nr", "", van, 401, `"code":"unauthorized"`},
		{"wrong token", "/api/v2/write?bucket=nr", "Token nobody-knows-this-token", van, 401, `"code":"unauthorized"`},
		{"own agent", "/api/v2/write?bucket=nr", "Token " + vanToken, van, 204, ""},
		{"bearer", "/api/v2/write?bucket=nr", "Bearer " + vanToken, van, 204, ""},
		{"1.x style", "/write?db=nr&u=x&p=" + vanToken, "", van, 204, ""},
		{"1.8 style", "/api/v2/write?bucket=nr", "Token user:" + vanToken, van, 204, ""},
		{"other bucket", "/api/v2/write?bucket=x", "Token " + vanToken, van, 403, `token \"van\" may not write to bucket \"x\"`},
		{"other agent", "/api/v2/write?bucket=nr", "Token " + vanToken, other, 403, `may not bring Results of agent \"truck-01\"`},
		{"may only read", "/api/v2/write?bucket=nr", "Token " + readerToken, van, 403, "may not write"},
		{"may everything", "/api/v2/write?bucket=any", "Token " + operatorToken, other, 204, ""},
	} {
		headers := []string{}
		if one.token != "" {
			headers = []string{"Authorization", one.token}
		}
		status, text := c.post(t, one.path, one.body, headers...)
		if status != one.status || !strings.Contains(text, one.want) {
			t.Errorf("%s: got %d %s, want %d %s", one.name, status, text, one.status, one.want)
		}
	}
	for path, want := range map[string]map[string]int{
		"/metrics":              {"": 401, "Bearer " + readerToken: 200, "Token " + vanToken: 401},
		"/api/v1/query?query=1": {"": 401, "Bearer " + readerToken: 200},
		"/api/nrprobe/fleet":    {"": 401, "Token " + operatorToken: 200},
		"/":                     {"": 401, "Bearer " + readerToken: 200},
		"/health":               {"": 200},
		"/api/v2/ping":          {"": 204},
	} {
		for token, status := range want {
			if got, _ := c.get(t, path, "Authorization", token); got != status {
				t.Errorf("%s with %q: got %d, want %d", path, token, got, status)
			}
		}
	}
}

func TestReadingMayBeOpen(t *testing.T) {
	tokens := withTokens(t)
	c := start(t, t.TempDir(), func(c *Config) { tokens(c); c.Reading = "open" })
	if status, _ := c.get(t, "/metrics"); status != http.StatusOK {
		t.Errorf("reading: %d, want 200", status)
	}
	if status, _ := c.post(t, "/api/v2/write?bucket=nr", []byte("a b=1")); status != http.StatusUnauthorized {
		t.Errorf("writing: %d, want 401", status)
	}
}

func TestReloadKeepsTheOldTokensOnError(t *testing.T) {
	c := start(t, t.TempDir(), withTokens(t))
	if err := os.WriteFile(c.config.TokensFile, []byte("tokens:\n  - {name: a, token: short}\n  - {name: a, token_sha256: xyz, agent: '['}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := c.Reload()
	if err == nil {
		t.Fatal("a bad file was accepted")
	}
	want := `FILE:2: tokens[0].token: is too short: take at least 12 characters, better 32 random ones
FILE:3: tokens[1].token_sha256: want 64 hexadecimal digits, as sha256sum prints them
FILE:3: tokens[1].agent: is not a pattern: write it like van-* or van-0?`
	if got := strings.ReplaceAll(err.Error(), c.config.TokensFile, "FILE"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if status, _ := c.post(t, "/api/v2/write?bucket=nr", []byte("a b=1"), "Authorization", "Token "+vanToken); status != http.StatusNoContent {
		t.Errorf("the old token: %d, want 204", status)
	}
	if err := os.WriteFile(c.config.TokensFile, []byte("tokens:\n  - {name: new, token: a-new-token-0123456789}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{vanToken: 401, "a-new-token-0123456789": 204} {
		if status, _ := c.post(t, "/api/v2/write?bucket=nr", []byte("a b=1"), "Authorization", "Token "+token); status != want {
			t.Errorf("%s after reload: %d, want %d", token, status, want)
		}
	}
}

func TestLimits(t *testing.T) {
	c := start(t, t.TempDir(), func(c *Config) {
		c.Limits.MaxBody, c.Limits.MaxUnpacked, c.Limits.MaxLine = 1<<16, 1<<18, 1<<10
	})
	long := "m f=\"" + strings.Repeat("x", 2<<10) + "\"\n"
	packed := pack(t, strings.Repeat("m f=1 1700000000000000000\n", 1<<16))
	if status, text := c.post(t, "/api/v2/write", []byte(strings.Repeat("m f=1\n", 1<<15))); status != 413 || !strings.Contains(text, "the body has more than 64KiB") {
		t.Errorf("large body: %d %s", status, text)
	}
	if status, text := c.post(t, "/api/v2/write", packed, "Content-Encoding", "gzip"); status != 413 || !strings.Contains(text, "more than 256KiB once unpacked") {
		t.Errorf("bomb: %d %s", status, text)
	}
	if status, text := c.post(t, "/api/v2/write", []byte(long+"m f=2\n")); status != 400 || !strings.Contains(text, "line 1: longer than 1024 bytes") {
		t.Errorf("long line: %d %s", status, text)
	}
}
