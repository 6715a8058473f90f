package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"videosim/shared/event"
)

// TestPageWithKeys: a gateway with keys asks for one, says when it is wrong,
// and then answers what was asked.
func TestPageWithKeys(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Keys = []Key{{Name: "reader", Hash: HashKey("right"), Scopes: []Scope{Query}}}
	})
	r.fill(20)
	b := newBrowser(t, &path{rig: r})
	b.open("#/search?id=v1")
	b.until(`document.getElementById("key-dialog").open && document.activeElement.id === "key" && document.getElementById("key-message").textContent.includes("asks for a key")`)
	b.shot("key")
	b.do(chromedp.KeyEvent("wrong" + kb.Enter))
	b.until(`document.getElementById("key-dialog").open && document.getElementById("key-message").textContent.includes("does not know")`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.getElementById("key-dialog").open && document.getElementById("message").textContent !== ""`)
	b.do(chromedp.Click(chromedp.CSS("#key-button")), chromedp.SendKeys(chromedp.CSS("#key"), "right"+kb.Enter))
	b.until(`!document.getElementById("key-dialog").open && document.querySelectorAll("#results li").length === 10 && document.getElementById("message").textContent === ""`)
	// A key that may only ask is told so, and not asked for again.
	b.do(chromedp.Click(chromedp.CSS(`nav a[href="#/publish"]`)), chromedp.SendKeys(chromedp.CSS(`#publish [name="id"]`), "x"),
		chromedp.SendKeys(chromedp.CSS(`#publish [name="title"]`), "x"+kb.Enter))
	b.until(`document.getElementById("publish-message").textContent.includes("scope") && !document.getElementById("key-dialog").open`)
	b.do(chromedp.Click(chromedp.CSS("#key-button")), chromedp.Click(chromedp.CSS("#key-forget")))
	b.until(`!document.getElementById("key-dialog").open && document.getElementById("key-button").textContent === "API key"`)
	b.do(chromedp.Click(chromedp.CSS(`nav a[href="#/map"]`)))
	b.until(`document.getElementById("key-dialog").open`)
	b.do(chromedp.Click(chromedp.CSS("#key-cancel")))
	b.until(`!document.getElementById("key-dialog").open`)
}

// TestPageOfEmptyIndex: each part says that there is nothing, and the start
// leads to where the first video is published.
func TestPageOfEmptyIndex(t *testing.T) {
	b := newBrowser(t, newPath(t, free))
	b.open("#/map")
	b.until(`document.getElementById("map-caption").textContent.includes("three videos")`)
	labels := filepath.Join(t.TempDir(), "label.tsv")
	if err := os.WriteFile(labels, []byte("a\tb\t0.5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open("#/evaluate")
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#label-file"), []string{labels}), chromedp.Click(chromedp.CSS("#evaluate button")))
	b.until(`document.getElementById("evaluate-caption").textContent === "No pair to show." && document.getElementById("evaluate-missing").textContent.includes("a, b")`)
	b.open("")
	b.until(`!document.getElementById("hint-empty").hidden`)
	b.shot("empty")
	b.do(chromedp.Click(chromedp.CSS("#hint-empty a")))
	b.until(`!document.getElementById("page-publish").hidden`)
	b.clean()
}

// TestPageWhenThingsGoWrong: unknown ids, answers that take long and come in
// another order, a gateway that is gone.
func TestPageWhenThingsGoWrong(t *testing.T) {
	r := newRig(t)
	r.fill(20)
	held, asked := make(chan struct{}), make(chan struct{}, 8)
	slowly := busEmbedHandler(func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
		asked <- struct{}{}
		select {
		case <-held:
		case <-ctx.Done():
		}
		return embedTitles(ctx, req)
	})
	r.lane.Store(&slowly)
	b := newBrowser(t, &path{rig: r})

	b.open("#/search?id=nobody")
	b.until(`document.getElementById("message").textContent.startsWith("No video has this id") && document.querySelector("#message a") !== null`)
	b.open("#/nonsense?%%%")
	b.until(`!document.getElementById("page-search").hidden`)
	b.open("#/compare?a=v1&b=nobody")
	b.until(`document.getElementById("compare-message").textContent.includes("not in the index")`)

	b.open("#/search?text=slow")
	<-asked
	b.until(`document.getElementById("page-search").getAttribute("aria-busy") === "true"`)
	b.shot("slow")
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = "#/search?id=v1"`))
	b.until(`document.querySelector("#results li .actions button:last-child")?.textContent === "Why?" && !document.getElementById("page-search").hasAttribute("aria-busy")`)
	close(held)
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = "#/search?text=again"`)) // behind the slow one in the embedder's lane
	b.until(`document.querySelectorAll("#results li .actions button:last-child").length === 10 && document.querySelector("#results li .actions button:last-child").textContent === "Compare"`)
	if got := b.text(`document.getElementById("q").value + location.hash`); got != "again#/search?text=again" {
		t.Errorf("after a late answer the page is about %q", got)
	}

	b.do(chromedp.Evaluate[chromedp.Void](`fetch = () => Promise.reject(new TypeError("network")); location.hash = "#/search?id=v2"`))
	b.until(`document.getElementById("message").textContent === "The gateway does not answer."`)
}

// TestPageWaitsForTheIndex: a publish whose embedding takes longer than one
// call may wait is followed until it is searchable.
func TestPageWaitsForTheIndex(t *testing.T) {
	p := newPath(t, 0)
	b := newBrowser(t, p)
	b.open("#/publish")
	b.do(chromedp.SendKeys(chromedp.CSS(`#publish [name="id"]`), "late"), chromedp.SendKeys(chromedp.CSS(`#publish [name="title"]`), "x"+kb.Enter))
	b.until(`document.getElementById("published").textContent.includes("waiting")`)
	b.until(`performance.getEntriesByType("resource").filter((e) => e.name.includes("min_sequence=")).length >= 1`) // one wait was in vain
	p.embedding <- struct{}{}
	p.indexing <- struct{}{}
	b.until(`document.getElementById("published").textContent.includes("indexed") && document.getElementById("publish-message").textContent === ""`)
}

// TestPageOfAwkwardVideos: long, right-to-left and many-sign titles, and a
// label file of 10,000 lines.
func TestPageOfAwkwardVideos(t *testing.T) {
	b := newBrowser(t, newPath(t, free))
	titles := map[string]string{
		"rtl": "كيفية طهي الأرز خطوة بخطوة", "emoji": "👩‍👩‍👧 family day 🇧🇷", "long": strings.Repeat("long ", 100),
		"unbroken": strings.Repeat("x", 400), "markup": "<b>&amp;</b>\u202e", strings.Repeat("i", 64): "",
	}
	last := uint64(0)
	for id, title := range titles {
		last = b.call("POST", "/v1/videos", asJSON(t, map[string]any{"id": id, "title": title, "asr_text": "words"})).want(202).sequence()
	}
	b.call("GET", fmt.Sprintf("/v1/videos/rtl?min_sequence=%d&wait_ms=10000", last), "").want(200)
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	b.open("#/search?id=rtl")
	b.until(fmt.Sprintf(`document.querySelectorAll("#results li").length === %d`, len(titles)-1))
	if got := b.text(`getComputedStyle(document.querySelector("#seed .title")).direction`); got != "rtl" {
		t.Errorf("an Arabic title reads %s", got)
	}
	if got := b.text(`[...document.querySelectorAll(".thumb")].some((e) => e.textContent === "👩‍👩‍👧")`); got != "true" {
		t.Errorf("no thumbnail with the whole first sign: %s", b.text(`[...document.querySelectorAll(".thumb")].map((e) => e.textContent)`))
	}
	if got := b.text(`document.documentElement.scrollWidth - innerWidth`); got != "0" {
		t.Errorf("%s pixels wider than a phone", got)
	}
	b.shot("awkward")

	var lines strings.Builder
	ids := []string{"rtl", "emoji", "long", "unbroken", "markup"}
	for i := range 10_000 {
		fmt.Fprintf(&lines, "%s\tgone%d\t%.2f\n", ids[i%5], i, float64(i%5)/4)
	}
	for i := range 10 {
		fmt.Fprintf(&lines, "%s\t%s\t%.2f\n", ids[i%5], ids[(i+1+i/5)%5], float64(i%5)/4)
	}
	labels := filepath.Join(t.TempDir(), "label.tsv")
	if err := os.WriteFile(labels, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open("#/evaluate")
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#label-file"), []string{labels}), chromedp.Click(chromedp.CSS("#evaluate button")))
	b.until(`[...document.querySelectorAll("#evaluate-facts dd")].slice(1, 3).map((d) => d.textContent).join(" ") === "10 10,000"`)
	b.clean()
}
