package collector

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium, or skips.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on this machine: the page is not looked at")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(2*time.Minute),
	)
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if _, err := chromedp.Run(ctx, chromedp.Steps()); err != nil { // the first Run starts the browser, without a deadline
		t.Fatal(err)
	}
	return ctx
}

// see runs one action of the browser.
func see[T any](ctx context.Context, t *testing.T, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPageShowsAnAgent(t *testing.T) {
	ctx := browser(t)
	c := start(t, t.TempDir(), nil)
	see(ctx, t, chromedp.Navigate(c.url))
	see(ctx, t, chromedp.WaitVisible(chromedp.CSS("#empty")))
	empty := see(ctx, t, chromedp.Text(chromedp.CSS("#empty")))
	if want := "nrprobe agent --target REFLECTOR --to " + c.url; !strings.Contains(empty, want) {
		t.Errorf("without an agent the page says %q, want the command %q", empty, want)
	}

	// A name that is markup must stay text.
	now := time.Now()
	for n := range 3 {
		for _, agent := range []string{"van-01", "<img src=x onerror=document.title=1>"} {
			if status, text := c.post(t, "/api/v2/write?bucket=nr", lines(result(agent, n+1, now.Add(time.Duration(5*n-10)*time.Second)))); status != 204 {
				t.Fatalf("%d %s", status, text)
			}
		}
	}
	const second = "#fleet tbody:nth-of-type(2) "
	see(ctx, t, chromedp.WaitReady(chromedp.CSS(second+"svg line.loss:nth-of-type(6)"))) // behind three of the grid: all results are drawn
	agent, row := see(ctx, t, chromedp.Text(chromedp.CSS(second+"h2"))), see(ctx, t, chromedp.Text(chromedp.CSS(second+"tr.probe")))
	title := see(ctx, t, chromedp.Title())
	label := see(ctx, t, chromedp.AttributeValue(chromedp.CSS(second+"svg[role=img]"), "aria-label")).Value
	charts := see(ctx, t, chromedp.Evaluate[int](`document.querySelectorAll("#fleet svg path.p50").length`))
	lossMarks := see(ctx, t, chromedp.Evaluate[int](`document.querySelectorAll("`+second+`svg line.loss").length`))
	if agent != "van-01" || title != "nrprobe" {
		t.Errorf("agent %q, title %q", agent, title)
	}
	for _, want := range []string{"edge", "stamp", "reflector.example:8620", "10.0ms", "1.94%", "15 ms", "↑ 0.97", "ok"} {
		if !strings.Contains(row, want) {
			t.Errorf("the row lacks %q: %q", want, row)
		}
	}
	if charts != 2 || lossMarks != 3 {
		t.Errorf("%d charts with %d marks of loss, want 2 with 3", charts, lossMarks)
	}
	if !strings.Contains(label, "p50") {
		t.Errorf("a screen reader hears %q of the chart", label)
	}
}

func TestPageFilesAreServed(t *testing.T) {
	c := start(t, t.TempDir(), nil)
	for path, want := range map[string]string{"/": "<!doctype html>", "/app.js": "use strict", "/chart.js": "use strict", "/style.css": "color-scheme", "/icon.svg": "<svg"} {
		for _, encoding := range []string{"identity", "gzip"} {
			status, text := c.get(t, path, "Accept-Encoding", encoding)
			if encoding == "gzip" {
				text = unpackText(t, text)
			}
			if status != 200 || !strings.Contains(text, want) {
				t.Errorf("%s as %s: %d %.80q", path, encoding, status, text)
			}
		}
	}
	if _, text := c.get(t, "/"); strings.Contains(text, "http://") || strings.Contains(text, "https://") {
		t.Error("the page names something outside of itself")
	}
}
