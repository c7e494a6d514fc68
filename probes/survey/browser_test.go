package survey

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestPageInABrowser opens the page in Chromium, wide and narrow, and keeps a picture of each among the test's artifacts.
func TestPageInABrowser(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no Chromium on this machine: the page is not looked at")
	}
	file := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := sample().HTML(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1100, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(2*time.Minute),
	)
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the first one starts the browser, without a deadline
		t.Fatal(err)
	}
	// That the system is dark is pretended by a script from outside: the page itself has none.
	const night = `[...document.styleSheets[0].cssRules].filter(r => r.media?.mediaText.includes("dark")).map(r => r.media.mediaText = "all").length`
	for name, width := range map[string]int64{"wide": 1100, "narrow": 400, "dark": 1100} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate("file://"+file)); err != nil {
			t.Fatal(err)
		}
		if over := see(ctx, t, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)); over > 0 {
			t.Errorf("%s: the page is %d pixels wider than the window", name, over)
		}
		if n := see(ctx, t, chromedp.Evaluate[int](`performance.getEntriesByType("resource").length`)); n > 0 {
			t.Errorf("%s: the page loaded %d things", name, n)
		}
		if text := see(ctx, t, chromedp.Evaluate[string](`document.body.innerText`)); !strings.Contains(text, "edge.example") || !strings.Contains(text, "344") {
			t.Errorf("%s: the page reads %.300s", name, text)
		}
		drawn := see(ctx, t, chromedp.Evaluate[int](`[...document.querySelectorAll("svg path.median, svg path.rate, svg path.curve")].filter(p => p.getTotalLength() > 50).length`))
		if drawn < 12 {
			t.Errorf("%s: %d lines are drawn in the charts", name, drawn)
		}
		if name == "dark" {
			if n := see(ctx, t, chromedp.Evaluate[int](night)); n != 1 {
				t.Errorf("%d sets of dark colours", n)
			}
			for what, selector := range map[string]string{"page": "body", "card": "section"} {
				colour := see(ctx, t, chromedp.Evaluate[string](`getComputedStyle(document.querySelector("`+selector+`")).backgroundColor`))
				if r, g, b := 0, 0, 0; !scan(colour, &r, &g, &b) || r+g+b > 150 {
					t.Errorf("%s: the %s is %s", name, what, colour)
				}
			}
		}
		picture := see(ctx, t, chromedp.FullScreenshot(100))
		if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func scan(colour string, r, g, b *int) bool {
	_, err := fmt.Sscanf(colour, "rgb(%d, %d, %d)", r, g, b)
	return err == nil
}

// see runs one action against a deadline.
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
