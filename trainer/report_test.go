package trainer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"videosim/shared/eval"
)

// sampleReport is a report of a run over n pairs, with titles that try to be
// more than text.
func sampleReport(t *testing.T, n int) reportData {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	e := Evaluation{Result: eval.Result{Missing: 12}}
	titles := map[string]string{}
	for i := range n {
		p := eval.Pair{A: fmt.Sprintf("video-%05d", i), B: fmt.Sprintf("video-%05d", i+1), Label: float64(rng.IntN(21)) / 20, HasLabel: true}
		if rng.IntN(3) == 0 {
			p.Label = 0
		}
		cosine := max(-1, min(1, p.Label+0.25*rng.NormFloat64()))
		e.Scored, e.Labels, e.Cosines = append(e.Scored, p), append(e.Labels, p.Label), append(e.Cosines, cosine)
		titles[p.A] = fmt.Sprintf("<script>alert(%d)</script> 猫咪和小狗一起玩耍 & \"更多\"", i)
	}
	e.Pairs, e.Spearman = n, eval.Spearman(e.Labels, e.Cosines)
	e.Scores = calibrated(eval.FitCalibration(e.Cosines, e.Labels), e.Cosines)
	if err := e.describe(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	log, err := readMetricsLog(interruptedRun(t))
	if err != nil {
		t.Fatal(err)
	}
	return reportData{
		Title: "Training", Made: time.Unix(1_800_000_000, 0), Fingerprint: "0123456789ab", Preset: "base", DataDigest: "ba9876543210",
		Labels: "data/label.tsv", Evaluation: e, Metrics: log, Titles: titles, Facts: []fact{{"late fusion alone", "0.8123"}},
	}
}

func pageOf(t *testing.T, d reportData) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new folder", "report.html")
	if err := writeReport(path, d); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestReportSaysEverything(t *testing.T) {
	d := sampleReport(t, 3000)
	page := pageOf(t, d)
	for _, want := range []string{
		"0123456789ab", "ba9876543210", "base", figure(d.Evaluation.Spearman), figure(d.Evaluation.Interval.Low), "0.8123",
		"Spearman by epoch", "Loss: pretrain text", "Loss: finetune late", "unsupervised", "Predicted against human score", "Calibration",
		"0.9 – 1.0", "Worst pairs", "猫咪和小狗一起玩耍", "prefers-color-scheme: dark", "width=device-width",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(page, `data-name="cosine"`); n != worstPairs {
		t.Errorf("%d worst pairs, want %d", n, worstPairs)
	}
	if n := strings.Count(page, "<svg"); n != 5 { // two stages have epochs
		t.Errorf("%d charts, want 5", n)
	}
}

// The page is one file: no script, no address, nothing that a browser fetches.
func TestReportIsSelfContained(t *testing.T) {
	page := pageOf(t, sampleReport(t, 500))
	if strings.Contains(page, "<script") || strings.Contains(page, "alert(1)</script>") {
		t.Error("a script, or a title that became one")
	}
	for _, found := range regexp.MustCompile(`(?i)(src|href|url|@import)\s*[=(]\s*\S{0,40}`).FindAllString(page, -1) {
		if !strings.Contains(found, "#") { // a reference inside the drawing
			t.Errorf("the page refers to something: %s", found)
		}
	}
	for _, found := range regexp.MustCompile(`https?://[^"'<\s]*`).FindAllString(page, -1) {
		if !strings.HasPrefix(found, "http://www.w3.org/") { // names of XML, which nobody fetches
			t.Errorf("the page names %s", found)
		}
	}
}

func TestReportWithoutTrainingOrTitles(t *testing.T) {
	d := sampleReport(t, 50)
	d.Metrics, d.Titles = nil, nil
	worst := worstRows(d.Evaluation, nil)[0]
	if page := pageOf(t, d); strings.Contains(page, "<h2>Training") || !strings.Contains(page, worst.A) || !strings.Contains(page, worst.B) {
		t.Error("without a log there is a chapter on training, or without titles no ids")
	}
	nothing := Evaluation{Result: eval.Result{Spearman: math.NaN()}}
	if err := nothing.describe(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if page := pageOf(t, reportData{Title: "Evaluation", Evaluation: nothing}); !strings.Contains(page, "undefined") || strings.Contains(page, "NaN") {
		t.Error("an evaluation of nothing does not say that it is undefined")
	}
}

// The size of a page does not grow with the number of pairs.
func TestReportOfManyPairsStaysSmall(t *testing.T) {
	if page := pageOf(t, sampleReport(t, 67_899)); len(page) > 400_000 {
		t.Errorf("%d bytes", len(page))
	}
}
