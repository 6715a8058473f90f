package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdpinput "github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPageInChromium does with the page what a person would.
func TestPageInChromium(t *testing.T) {
	b := newBrowser(t, newPath(t, free))
	b.fill(80)
	labels := filepath.Join(t.TempDir(), "label.tsv")
	text := labelFile(80)
	if err := os.WriteFile(labels, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	b.starts()
	b.searches()
	b.filters()
	b.compares()
	b.looksAtTheMap()
	b.evaluates(labels, text)
	b.publishes()
	b.usesTheKeyboard()
	b.looks(labels)
	b.clean()
}

func labelFile(videos int) string {
	var text strings.Builder
	for i := range 600 {
		fmt.Fprintf(&text, "v%d\tv%d\t%.2f\n", i%videos, (i*7+1)%videos, float64(i%21)/20)
	}
	return text.String()
}

// starts: without a question, the page offers videos to start from.
func (b *browser) starts() {
	b.t.Helper()
	b.open("")
	b.until(`document.querySelectorAll("#samples a").length === 6`)
	b.shot("start")
	b.do(chromedp.Click(chromedp.CSS("#samples li:first-child a")))
	b.until(`location.hash.startsWith("#/search?id=v") && document.querySelectorAll("#results li").length === 10 && document.getElementById("hint").hidden`)
	if got := b.text(`document.getElementById("found").textContent`); !strings.HasPrefix(got, "10 videos") {
		b.t.Errorf("a reader hears %q", got)
	}
}

func (b *browser) searches() {
	b.t.Helper()
	b.open("#/search?id=v1")
	b.until(`document.querySelectorAll("#results li").length === 10`)
	want := b.call("GET", "/v1/videos/v1/similar", "").want(200).ids()
	if got := b.text(`document.querySelector("#results li .chip").textContent`); got != "id "+want[0] {
		b.t.Errorf("the first result shows %q, want id %s", got, want[0])
	}
	if got := b.text(`document.querySelector("#seed .title").textContent`); !strings.HasPrefix(got, "三分钟") {
		b.t.Errorf("the video asked about shows as %q", got)
	}
	b.until(`[...document.querySelectorAll("#results img.thumb")].every((i) => i.complete && i.naturalWidth > 0)`)
	b.shot("search")
	b.do(chromedp.Click(chromedp.CSS("#more")))
	b.until(`document.querySelectorAll("#results li").length === 20`)

	b.do(chromedp.Click(chromedp.CSS("#results li:first-child .actions button:last-child")))
	b.until(`document.querySelector("#explain tr.sum") !== null`)
	numbers := strings.Fields(b.text(`[...document.querySelectorAll("#explain table:first-of-type td:nth-child(2)")].map((td) => td.textContent).join(" ")`))
	sum := 0.0
	for i, n := range numbers {
		value, err := strconv.ParseFloat(n, 64)
		if err != nil || len(numbers) != 4 {
			b.t.Fatalf("the explanation shows %v", numbers)
		}
		if i < 3 {
			sum += value
		} else if sum-value > 2e-4 || value-sum > 2e-4 {
			b.t.Errorf("the terms shown, %v, add up to %g", numbers, sum)
		}
	}
	b.shot("explain")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.getElementById("explain").open && document.activeElement.textContent === "Why?"`) // the focus goes back to where it was
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("#explain tr.sum") !== null`)
	b.do(chromedp.Click(chromedp.CSS("#explain form button")))
	b.until(`!document.getElementById("explain").open`)

	b.do(chromedp.Click(chromedp.CSS(`input[value="text"] + span`)), chromedp.Evaluate[chromedp.Void](`document.getElementById("q").value = "猫咪第一次见雪 · 第二集"`),
		chromedp.Focus(chromedp.CSS("#q")), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("#results .title")?.textContent === "猫咪第一次见雪 · 第二集"`)
	if hash := b.text("decodeURIComponent(location.hash)"); !strings.HasPrefix(hash, "#/search?text=猫咪") {
		b.t.Errorf("address %q", hash)
	}
	b.do(chromedp.Evaluate[chromedp.Void]("history.back()"))
	b.until(`document.getElementById("q").value === "v1" && document.querySelector("#seed .title") !== null && document.querySelectorAll("#results li").length === 10`)
}

// filters: they are in the address, which brings them back.
func (b *browser) filters() {
	b.t.Helper()
	b.open("#/search?id=v1")
	b.until(`document.querySelectorAll("#results li").length === 10`)
	b.do(chromedp.Click(chromedp.CSS("#filters")), chromedp.SendKeys(chromedp.CSS(`#search [name="category"]`), "2"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector('#search [name="before"]').value = "2025-03-20"`),
		chromedp.Focus(chromedp.CSS("#q")), chromedp.KeyEvent(kb.Enter))
	b.until(`location.hash.includes("category=2&before=2025-03-20") && document.getElementById("filters").textContent === "Filters (2 set)" && document.getElementById("found").textContent !== ""`)
	want := b.call("GET", "/v1/videos/v1/similar?category=2&published_before=2025-03-20T00:00:00Z", "").want(200).ids()
	if got := b.text(`[...document.querySelectorAll("#results .chip:first-child")].map((c) => c.textContent.slice(3)).join(" ")`); got != strings.Join(want, " ") || len(want) == 0 {
		b.t.Errorf("filtered results %s, want %v", got, want)
	}
	b.open("#/search?id=v1&category=99")
	b.until(`document.getElementById("found").textContent.startsWith("Nothing") && document.querySelector('#search [name="category"]').value === "99"`)
	b.do(chromedp.Click(chromedp.CSS(`nav a[href="#/search"]`)))
	b.until(`document.querySelector('#search [name="category"]').value === "" && document.querySelectorAll("#samples a").length === 6`)
}

func (b *browser) compares() {
	b.t.Helper()
	b.open("#/compare?a=v1&b=v2")
	b.until(`document.querySelector("#compare-body .big") !== null`)
	pair := b.call("POST", "/v1/similarity", `{"pairs":[["v1","v2"]]}`).want(200).value["results"].([]any)[0].(map[string]any)
	if got, want := b.text(`document.querySelector("#compare-body .big").textContent`), fmt.Sprintf("%.3f", pair["score"]); got != want {
		b.t.Errorf("the score shows as %s, want %s", got, want)
	}
	if got := b.text(`document.querySelectorAll("#compare-body .pair .result").length`); got != "2" {
		b.t.Errorf("%s videos beside the score", got)
	}
	if got := b.text(`document.querySelectorAll("#compare-body meter").length`); got != "2" { // title and speech; without frames there is nothing to leave out
		b.t.Errorf("%s modalities are shown", got)
	}
	b.shot("compare")
}

func (b *browser) looksAtTheMap() {
	b.t.Helper()
	b.open("#/map")
	b.until(`document.querySelectorAll("#map-plot circle").length === 80`)
	b.do(chromedp.Focus(chromedp.CSS("#map-plot")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowUp))
	b.until(`document.querySelector("#map-plot .chosen") !== null && document.getElementById("map-caption").textContent.includes("category")`)
	b.shot("map")
	b.pointsAtTheMap()
	b.do(chromedp.Focus(chromedp.CSS("#map-plot")), chromedp.KeyEvent(kb.Enter))
	b.until(`location.hash.startsWith("#/search?id=v") && document.querySelectorAll("#results li").length === 10`)
}

// pointsAtTheMap: what is under the mouse is described, and only a click picks it.
func (b *browser) pointsAtTheMap() {
	b.t.Helper()
	box := strings.Fields(b.text(`(() => {
		const dots = [...document.querySelectorAll("#map-plot circle")], chosen = document.querySelector("#map-plot .chosen");
		const apart = (a, b) => Math.hypot(a.cx.baseVal.value - b.cx.baseVal.value, a.cy.baseVal.value - b.cy.baseVal.value);
		// Videos of one title lie in one place; no others may be near.
		const one = dots.find((d) => apart(d, chosen) > 12 && dots.every((o) => apart(o, d) < 0.5 || apart(o, d) > 12)).getBoundingClientRect();
		return (one.x + one.width / 2) + " " + (one.y + one.height / 2);
	})()`))
	x, errX := strconv.ParseFloat(box[0], 64)
	y, errY := strconv.ParseFloat(box[1], 64)
	if errX != nil || errY != nil {
		b.t.Fatal(box)
	}
	before := b.text(`document.getElementById("map-caption").textContent`)
	at := func(kind cdpinput.DispatchMouseEventType, button cdpinput.MouseButton) step {
		return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			_, err := cdp.Call(ctx, tab, cdpinput.DispatchMouseEvent, cdpinput.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: button, ClickCount: 1})
			return err
		})
	}
	b.do(at(cdpinput.DispatchMouseEventTypeMouseMoved, cdpinput.MouseButtonNone))
	b.until(`document.querySelector("#map-plot .near:not(.chosen)") !== null && document.querySelector("#map-plot .chosen") !== null`)
	b.do(at(cdpinput.DispatchMouseEventTypeMousePressed, cdpinput.MouseButtonLeft), at(cdpinput.DispatchMouseEventTypeMouseReleased, cdpinput.MouseButtonLeft))
	b.until(`document.querySelector("#map-plot .chosen").getBoundingClientRect().x < ` + box[0] + ` && document.querySelectorAll("#map-plot .chosen").length === 1`)
	if got := b.text(`document.getElementById("map-caption").textContent`); got == before || !strings.Contains(got, "category") {
		b.t.Errorf("a click on another point tells %q", got)
	}
}

func (b *browser) evaluates(file, text string) {
	b.t.Helper()
	b.open("#/evaluate")
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#label-file"), []string{file}), chromedp.Click(chromedp.CSS("#evaluate button")))
	b.until(`document.querySelectorAll("#evaluate-plot circle").length > 0`)
	want := b.call("POST", "/v1/evaluations?points=2000", text, "Content-Type", tsv).want(200)
	if got, want := b.text(`document.querySelector("#evaluate-facts dd").textContent`), fmt.Sprintf("%.4f", want.value["spearman"]); got != want {
		b.t.Errorf("Spearman shows as %s, want %s", got, want)
	}
	if got, want := b.text(`document.querySelectorAll("#evaluate-plot circle").length`), fmt.Sprint(len(want.value["points"].([]any))); got != want {
		b.t.Errorf("%s points, want %s", got, want)
	}
	b.shot("evaluate")
	b.do(chromedp.Focus(chromedp.CSS("#evaluate-plot")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.Enter))
	b.until(`location.hash.startsWith("#/compare?a=v")`)
}

func (b *browser) publishes() {
	b.t.Helper()
	b.open("#/publish")
	b.do(chromedp.SendKeys(chromedp.CSS(`#publish [name="id"]`), "made here"), chromedp.SendKeys(chromedp.CSS(`#publish [name="title"]`), `<img src=x onerror=alert(1)>`),
		chromedp.SendKeys(chromedp.CSS(`#publish [name="tag_ids"]`), "12, 7"))
	b.shot("publish")
	b.do(chromedp.Click(chromedp.CSS("#publish button")))
	b.until(`document.getElementById("published").textContent.includes("indexed")`)
	b.do(chromedp.Click(chromedp.CSS("#published a")))
	b.until(`document.querySelector("#seed .title")?.textContent.startsWith("<img") && document.querySelectorAll("#results li").length === 10`)
	if state := b.call("GET", "/v1/videos/made%20here", "").want(200); fmt.Sprint(state.value["tag_ids"]) != "[12 7]" {
		b.t.Errorf("published: %s", state.body)
	}
}

// usesTheKeyboard: the slash goes to the search, tabs reach the results'
// buttons in order, and what has the focus shows it.
func (b *browser) usesTheKeyboard() {
	b.t.Helper()
	b.open("#/map")
	b.until(`document.querySelectorAll("#map-plot circle").length > 0`)
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := b.text(`document.activeElement.id + " " + (document.activeElement.getBoundingClientRect().left >= 0)`); got != "skip true" {
		b.t.Errorf("the first tab leads to %q, want the link that skips, in sight", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === "main" && location.hash === "#/map"`)
	b.do(chromedp.KeyEvent(kb.Tab))
	b.until(`document.activeElement.id === "map-plot"`)
	b.do(chromedp.KeyEvent("/"))
	b.until(`document.activeElement.id === "q" && !document.getElementById("page-search").hidden`)
	// The test's keyboard types the sign even though the page has taken the key.
	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("q").value = ""`), chromedp.KeyEvent("v3"+kb.Enter))
	b.until(`document.querySelectorAll("#results li").length === 10`)
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := b.text(`document.activeElement.textContent + " " + (getComputedStyle(document.activeElement).outlineStyle !== "none")`); got != "Similar true" {
		b.t.Errorf("behind the results a tab leads to %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!location.hash.endsWith("id=v3") && document.querySelectorAll("#results li").length === 10`)
}

// looks: nothing is wider than a phone, and what one touches is large enough.
func (b *browser) looks(labels string) {
	b.t.Helper()
	dark := func(on string) step {
		return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: on}},
			})
			return err
		})
	}
	b.do(dark("dark"))
	b.open("#/search?id=v1")
	b.until(`document.querySelectorAll("#results li").length === 10`)
	b.shot("search-dark")
	b.open("#/map")
	b.until(`document.querySelectorAll("#map-plot circle").length > 0`)
	b.shot("map-dark")
	b.do(dark("light"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	for _, page := range []struct{ name, hash, ready string }{
		{"search", "#/search?id=v1", `document.querySelectorAll("#results li").length === 10`},
		{"compare", "#/compare?a=v1&b=v2", `document.querySelector("#compare-body .big") !== null`},
		{"map", "#/map", `document.querySelectorAll("#map-plot circle").length > 0`},
		{"evaluate", "#/evaluate", `!document.getElementById("page-evaluate").hidden`},
		{"publish", "#/publish", `!document.getElementById("page-publish").hidden`},
	} {
		b.open(page.hash)
		b.until(page.ready)
		if page.name == "evaluate" {
			b.do(chromedp.SetUploadFiles(chromedp.CSS("#label-file"), []string{labels}), chromedp.Click(chromedp.CSS("#evaluate button")))
			b.until(`document.querySelectorAll("#evaluate-plot circle").length > 0`)
		}
		if got := b.text(`document.documentElement.scrollWidth - innerWidth`); got != "0" {
			b.t.Errorf("%s is %s pixels wider than a phone", page.name, got)
		}
		small := b.text(`[...document.querySelectorAll("main button, main input:not([type=radio]), main select")].filter((e) => e.offsetParent && e.offsetHeight < 36).map((e) => e.textContent || e.name).join(", ")`)
		if small != "" {
			b.t.Errorf("%s: too small to touch: %s", page.name, small)
		}
		b.shot("phone-" + page.name)
	}
}
