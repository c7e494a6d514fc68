package uplink

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	influx "github.com/influxdata/influxdb-client-go/v2/api/http"

	"github.com/nrprobe/nrprobe/probes"
)

// verdict is what an answer means for the records that were sent.
type verdict uint8

const (
	accepted verdict = iota // kept by the server
	partial                 // the server kept what it could take and dropped the rest for good
	rejected                // the server will never take them as they are
	tooLarge                // the server may take them in smaller batches
	retry                   // may work soon: the network, an overloaded or restarting server
	refused                 // works once somebody has changed a setting: token, address, certificate
)

// answer is a judged reply to one write.
type answer struct {
	verdict verdict
	reason  string        // short and stable, for the log and to tell whether it changed
	detail  string        // what the server said
	after   time.Duration // how long the server asked to wait
	genuine bool          // bears the marks of a write API, not of a proxy or a portal in between
	dropped int           // partial: points that the server dropped
}

// text is the answer on one line: what went wrong, its remedy, and what the server said.
func (a answer) text() string {
	if a.detail == "" {
		return a.reason
	}
	return a.reason + ": " + a.detail
}

// notDelivered is why records stay in the outbox.
type notDelivered struct{ answer }

func (e *notDelivered) Error() string { return e.text() }

// maxWait bounds how long a server may ask an agent to wait.
const maxWait = 15 * time.Minute

var droppedPattern = regexp.MustCompile(`dropped=(\d+)`)

// judge says what the error of a write means. nil means that the server answered 204.
func judge(err error) answer {
	if err == nil {
		return answer{verdict: accepted}
	}
	e, ok := errors.AsType[*influx.Error](err)
	if !ok || e.StatusCode == 0 {
		return judgeNetwork(err)
	}
	a := answer{reason: fmt.Sprintf("the server answered %d %s", e.StatusCode, http.StatusText(e.StatusCode)), detail: brief(e.Message), genuine: isGenuine(e)}
	switch {
	case e.StatusCode == http.StatusBadRequest || e.StatusCode == http.StatusUnprocessableEntity:
		a.verdict = rejected
		if a.genuine && strings.Contains(e.Message, "partial write") {
			a.verdict, a.dropped = partial, 1
			if m := droppedPattern.FindStringSubmatch(e.Message); m != nil {
				a.dropped, _ = strconv.Atoi(m[1])
			}
		}
	case e.StatusCode == http.StatusRequestEntityTooLarge:
		a.verdict = tooLarge
	case e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden:
		a.verdict = refused
		a.reason += " (check uplink.token and uplink.token_file, and that the token may write to uplink.bucket)"
	case e.StatusCode == http.StatusRequestTimeout || e.StatusCode == http.StatusTooManyRequests || e.StatusCode >= 500:
		a.verdict, a.after = retry, retryAfter(e)
	default:
		a.verdict = refused
		a.reason += " (check uplink.url, uplink.org and uplink.bucket)"
	}
	return a
}

// judgeNetwork judges what went wrong before there was an answer to believe.
func judgeNetwork(err error) answer {
	if _, ok := errors.AsType[*strangeAnswer](err); ok {
		return answer{verdict: refused, reason: err.Error()}
	}
	if probes.Classify(err) == probes.Auth {
		return answer{verdict: refused, reason: "the server's certificate is not trusted (check uplink.ca and uplink.pin)", detail: brief(err.Error())}
	}
	return answer{verdict: retry, reason: "the server cannot be reached", detail: brief(err.Error())}
}

// isGenuine says whether an error answer bears the marks of InfluxDB and of our collector.
func isGenuine(e *influx.Error) bool {
	if strings.HasPrefix(e.Header.Get("Content-Type"), "application/json") {
		return true
	}
	for key := range e.Header {
		if strings.HasPrefix(strings.ToLower(key), "x-influxdb-") {
			return true
		}
	}
	return false
}

// retryAfter reads the header in both of its forms (RFC 9110 section 10.2.3).
func retryAfter(e *influx.Error) time.Duration {
	wait := time.Duration(min(e.RetryAfter, uint(maxWait/time.Second))) * time.Second
	if at, err := http.ParseTime(e.Header.Get("Retry-After")); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), maxWait)
}

// brief keeps what a server said on one line of a log.
func brief(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}
