// Package access decides who may write to a collector and who may read from it, by the tokens that a file lists. Tokens
// are kept as their SHA-256, compared in constant time and never logged.
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/nrprobe/nrprobe/configs"
)

// Token is one entry of the tokens file.
type Token struct {
	Name        string   `yaml:"name" help:"who it is, for logs" required:"true"`
	Token       string   `yaml:"token" help:"the token itself"`
	TokenFile   string   `yaml:"token_file" help:"file that holds the token"`
	TokenSHA256 string   `yaml:"token_sha256" help:"SHA-256 of the token in hexadecimal, instead of the token"`
	Access      []string `yaml:"access" help:"what it may do: write, read; both when left out"`
	Buckets     []string `yaml:"buckets" help:"buckets it may write to; all when left out"`
	Agent       string   `yaml:"agent" help:"names of the agents whose Results it may bring, as a pattern like van-*; all when left out"`

	sum [sha256.Size]byte
}

// The words of Token.Access.
const (
	Write = "write"
	Read  = "read"
)

// minToken is the shortest token that is taken. Shorter ones can be guessed over the network.
const minToken = 12

// Validate implements configs.Validator.
func (t *Token) Validate(r *configs.Report, at configs.At) {
	given := 0
	for _, text := range []string{t.Token, t.TokenFile, t.TokenSHA256} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		r.Problem(at, "", "want exactly one of token, token_file and token_sha256")
		return
	}
	t.digest(r, at)
	for _, word := range t.Access {
		if word != Write && word != Read {
			r.Problem(at, "access", "want a list of write and read")
		}
	}
	if _, err := path.Match(t.Agent, "agent"); err != nil {
		r.Problem(at, "agent", "is not a pattern: write it like van-* or van-0?")
	}
}

// digest fills in sum. The token itself is forgotten here, so that nothing can print it later.
func (t *Token) digest(r *configs.Report, at configs.At) {
	if t.TokenSHA256 != "" {
		sum, err := hex.DecodeString(t.TokenSHA256)
		if err != nil || len(sum) != sha256.Size {
			r.Problem(at, "token_sha256", "want 64 hexadecimal digits, as sha256sum prints them")
			return
		}
		t.sum = [sha256.Size]byte(sum)
		return
	}
	secret, err := configs.Secret(t.Token, t.TokenFile)
	t.Token = ""
	switch {
	case err != nil:
		r.Problem(at, "token_file", err.Error())
	case len(secret) < minToken:
		r.Problem(at, "token", "is too short: take at least 12 characters, better 32 random ones")
	}
	t.sum = sha256.Sum256([]byte(secret))
}

// Grant is what a request may do.
type Grant struct {
	// Name is the token's; "" where no token is asked for.
	Name  string
	token *Token
}

// May says whether the grant allows an access.
func (g Grant) May(access string) bool {
	return g.token == nil || len(g.token.Access) == 0 || slices.Contains(g.token.Access, access)
}

// MayWriteTo says whether the grant allows to write to a bucket.
func (g Grant) MayWriteTo(bucket string) bool {
	return g.token == nil || len(g.token.Buckets) == 0 || slices.Contains(g.token.Buckets, bucket)
}

// MayBring says whether the grant allows to bring Results of an agent.
func (g Grant) MayBring(agent string) bool {
	if g.token == nil || g.token.Agent == "" {
		return true
	}
	matches, err := path.Match(g.token.Agent, agent)
	return err == nil && matches
}

// list is what a tokens file says.
type list struct {
	Tokens []Token `yaml:"tokens" help:"who may write and read" required:"true"`
}

// Validate implements configs.Validator.
func (l *list) Validate(r *configs.Report, at configs.At) {
	names := map[string]bool{}
	for _, t := range l.Tokens {
		if names[t.Name] {
			r.Problem(at, "tokens", "two tokens are named "+t.Name+": give each its own name")
		}
		names[t.Name] = true
	}
}

// find compares with every token, so that the time it takes says nothing.
func (l *list) find(secret string) (Grant, bool) {
	sum := sha256.Sum256([]byte(secret))
	found := -1
	for i := range l.Tokens {
		if subtle.ConstantTimeCompare(sum[:], l.Tokens[i].sum[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return Grant{}, false
	}
	return Grant{Name: l.Tokens[found].Name, token: &l.Tokens[found]}, true
}

// secret takes the token out of a request: "Authorization: Token …" as InfluxDB has it, "Bearer …", the password of
// Basic, or the 1.x parameter p. Clients of InfluxDB 1.x write user:password behind Token as well.
func secret(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Token") || strings.EqualFold(scheme, "Bearer") {
		value = strings.TrimSpace(value)
		if _, password, ok := strings.Cut(value, ":"); ok {
			return password
		}
		return value
	}
	if r.URL.Path == "/write" {
		return r.URL.Query().Get("p")
	}
	return ""
}
