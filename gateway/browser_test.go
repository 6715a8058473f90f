package gateway

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is a real Chromium on the page of a gateway with videos.
type browser struct {
	*path
	ctx context.Context

	mu     sync.Mutex
	faults []string // what the page should not have done
}

// findChromium names the program, or says how to get it.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Fatal("Chromium is missing: run deploy/setup.sh as root, or: sudo apt-get install -y chromium")
	return ""
}

func newBrowser(t *testing.T, p *path) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findChromium(t)), chromedp.DisableGPU, chromedp.WindowSize(1180, 900), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(time.Minute))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to start as root with it
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closePage := chromedp.NewContext(allocator)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	b := &browser{path: p, ctx: ctx}
	t.Cleanup(func() {
		cancel()
		_ = chromedp.Cancel(ctx) // waits for the program
		closePage()
		stop()
	})
	b.do(chromedp.Navigate("about:blank")) // starts it
	messages := chromedp.Console(ctx)
	go b.listen(messages)
	return b
}

// step is an action that returns nothing.
type step = chromedp.Action[chromedp.Void]

// listen keeps exceptions, what the content policy blocks, and calls that fail.
func (b *browser) listen(messages iter.Seq2[chromedp.ConsoleMessage, error]) {
	for m, err := range messages {
		if err != nil {
			return // the browser has ended
		}
		if m.IsException() || m.Type == "error" {
			b.mu.Lock()
			b.faults = append(b.faults, m.String())
			b.mu.Unlock()
		}
	}
}

// clean fails the test where the page did what it should not.
func (b *browser) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		b.t.Errorf("in the browser: %s", f)
	}
}

func (b *browser) do(steps ...step) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText")) // as much as there is
		b.t.Fatalf("%v\nthe page says: %s", err, text)
	}
}

// open goes to a part of the page, as a typed address would.
func (b *browser) open(hash string) {
	b.t.Helper()
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(b.url+"/"+hash), chromedp.WaitVisible(chromedp.CSS("main")))
}

// until waits for a condition in JavaScript.
func (b *browser) until(condition string) {
	b.t.Helper()
	b.do(chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingTimeout(20*time.Second)))
}

func (b *browser) text(expression string) string {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return out
}

// shot keeps a picture where VIDEOSIM_SCREENSHOTS names a folder for people
// to look at.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("VIDEOSIM_SCREENSHOTS")
	if dir == "" {
		return
	}
	b.do(chromedp.Sleep(400 * time.Millisecond))
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// thumbnails serves a picture a path, as a platform's image server would.
func thumbnails(t *testing.T) string {
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		picture := image.NewRGBA(image.Rect(0, 0, 160, 90))
		for x := range 160 {
			for y := range 90 {
				picture.Set(x, y, color.RGBA{uint8(40 + x), uint8(220 - 2*y), uint8(len(r.URL.Path) * 40), 255})
			}
		}
		w.Header().Set("Content-Type", "image/png")
		_ = png.Encode(w, picture)
	}))
	t.Cleanup(served.Close)
	return served.URL
}

var titleParts = [2][]string{
	{"红烧肉的做法", "三分钟学会蛋炒饭", "猫咪第一次见雪", "How to fold a paper crane", "手工编织围巾教程", "乡村小路骑行", "Cat meets snow for the first time", "家常麻婆豆腐"},
	{"，零失败", "（完整版）", " · 第二集", "，新手也能做", ", slow and calm"},
}

// fill publishes n videos and waits until all are searchable.
func (b *browser) fill(n int) {
	b.t.Helper()
	pictures := thumbnails(b.t.(*testing.T))
	last := uint64(0)
	for i := range n {
		thumbnail := ""
		if i%3 == 0 {
			thumbnail = fmt.Sprintf(`,"thumbnail_url":"%s/%s"`, pictures, strings.Repeat("x", i%5))
		}
		last = b.call("POST", "/v1/videos", fmt.Sprintf(`{"id":"v%d","title":"%s%s","asr_text":"words","category_id":%d,"tag_ids":[%d,%d],"published_at":"2025-03-%02dT12:00:00Z"%s}`,
			i, titleParts[0][i%8], titleParts[1][i%5], 1+i%6, 100+i%9, 200+i%4, 1+i%28, thumbnail)).want(202).sequence()
	}
	b.call("GET", fmt.Sprintf("/v1/videos/v0?min_sequence=%d&wait_ms=10000", last), "").want(200)
	if err := b.bus.ServeEmbed(b.t.Context(), testModel, embedTitles); err != nil {
		b.t.Fatal(err)
	}
}
