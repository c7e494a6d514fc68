//go:build bench

package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/nrprobe/nrprobe/probes/throughput"
)

// bareAddress is where the bare loop listens in the far namespace, bareRole the variable that makes this test binary one
// of its ends, and bareProtocol its ALPN protocol.
const (
	bareAddress  = "10.77.0.2:9443"
	bareRole     = "NRPROBE_BENCH_ROLE"
	bareLength   = "NRPROBE_BENCH_LENGTH"
	bareProtocol = "bare"
)

func startBare(t *testing.T, l link) *daemon {
	t.Helper()
	d := start(t, in(l.far, bareArgv("server", 0)...)...)
	d.waitFor(t, "bare loop is ready", 20*time.Second)
	return d
}

// bareArgv runs this test binary as one end of the loop.
func bareArgv(role string, length time.Duration) []string {
	return []string{"env", bareRole + "=" + role, bareLength + "=" + length.String(), os.Args[0], "-test.run=^TestBenchBare$", "-test.v"}
}

func (b *bench) bareQUIC(way string) contender {
	return contender{"bare quic-go loop", b.bare, bareArgv(way, b.length), way == "up", func(t *testing.T, out string) float64 {
		var bytes, seconds float64
		for line := range strings.SplitSeq(out, "\n") {
			if _, err := fmt.Sscanf(line, "bare %f %f", &bytes, &seconds); err == nil {
				return 8 * bytes / seconds
			}
		}
		t.Logf("the bare loop said nothing: %s", out)
		return 0
	}}
}

// TestBenchBare is no test: it is the two ends of the smallest program that moves bytes over one stream of quic-go, with
// the same flow-control windows, and the same sizes of reads and writes, as nrprobe has. The first byte that the client
// sends says which way; the receiver of an upload answers with its count.
func TestBenchBare(t *testing.T) {
	role := os.Getenv(bareRole)
	if role == "" {
		t.Skip("this is one end of the bare loop of TestBenchThroughput")
	}
	if role == "server" {
		if err := serveBare(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	}
	length, err := time.ParseDuration(os.Getenv(bareLength))
	if err != nil {
		t.Fatal(err)
	}
	bytes, took, err := dialBare(t.Context(), role == "up", length)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("bare %d %f\n", bytes, took.Seconds())
}

func serveBare(ctx context.Context) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return err
	}
	security := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, NextProtos: []string{bareProtocol}, MinVersion: tls.VersionTLS13,
	}
	l, err := quic.ListenAddr(bareAddress, security, throughput.QUICConfig())
	if err != nil {
		return err
	}
	fmt.Println("bare loop is ready")
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		if err := answerBare(ctx, c); err != nil {
			fmt.Println("bare loop:", err)
		}
	}
}

// answerBare serves one connection after the other: there is never more than one.
func answerBare(ctx context.Context, c *quic.Conn) error {
	st, err := c.AcceptStream(ctx)
	if err != nil {
		return err
	}
	var way [1]byte
	if _, err := io.ReadFull(st, way[:]); err != nil {
		return err
	}
	if way[0] == 'u' {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{st}, make([]byte, 64<<10)) // it ends with the client's reset or its end
		_, err := st.Write([]byte(strconv.FormatInt(n, 10)))
		return errors.Join(err, st.Close())
	}
	block := make([]byte, 256<<10)
	for {
		if _, err := st.Write(block); err != nil {
			return nil // the client has had enough
		}
	}
}

func dialBare(ctx context.Context, up bool, length time.Duration) (bytes int64, took time.Duration, err error) {
	c, err := quic.DialAddr(ctx, bareAddress, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{bareProtocol}}, throughput.QUICConfig()) //nolint:gosec // a throw-away peer in a namespace of its own
	if err != nil {
		return 0, 0, err
	}
	defer c.CloseWithError(0, "")
	st, err := c.OpenStreamSync(ctx)
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	if up {
		return uploadBare(st, begun, length)
	}
	if _, err := st.Write([]byte("d")); err != nil {
		return 0, 0, err
	}
	if err := st.SetReadDeadline(begun.Add(length)); err != nil {
		return 0, 0, err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{st}, make([]byte, 64<<10))
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		return n, 0, fmt.Errorf("receiving: %w", err)
	}
	return n, time.Since(begun), nil
}

// uploadBare counts what the server has had: all of it, as the stream is closed in order.
func uploadBare(st *quic.Stream, begun time.Time, length time.Duration) (bytes int64, took time.Duration, err error) {
	if _, err := st.Write([]byte("u")); err != nil {
		return 0, 0, err
	}
	block := make([]byte, 256<<10)
	for time.Since(begun) < length {
		if _, err := st.Write(block); err != nil {
			return 0, 0, err
		}
	}
	if err := st.Close(); err != nil {
		return 0, 0, err
	}
	text, err := io.ReadAll(st)
	took = time.Since(begun)
	if err != nil {
		return 0, 0, err
	}
	bytes, err = strconv.ParseInt(string(text), 10, 64)
	return bytes, took, err
}
