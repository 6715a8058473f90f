package trainer

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// reportData is what a report shows. Parts that are not there are left out of
// the page: a gateway knows no titles, an evaluation has no loss.
type reportData struct {
	Title       string
	Made        time.Time
	Fingerprint string
	Preset      string
	DataDigest  string
	Labels      string // where the judged pairs come from
	Facts       []fact // further figures of the header
	Evaluation  Evaluation
	Metrics     []metric          // lines of the training run's log
	Titles      map[string]string // of videos by id
}

// fact is a figure with its name.
type fact struct{ Name, Value string }

// evaluationReport is the report of `trainer evaluate`. Where the log of the
// run that made the bundle still lies beside it, its curves are shown, too.
func evaluationReport(cfg EvaluateConfig, e Evaluation) (reportData, error) {
	d := reportData{
		Title: "Evaluation", Made: time.Now(), Fingerprint: e.model.Fingerprint, Preset: e.model.Preset,
		DataDigest: e.model.DataDigest, Labels: cfg.Labels, Evaluation: e, Titles: e.titles,
	}
	if cfg.Bundle == "" {
		return d, nil
	}
	var err error
	if d.Metrics, err = readMetricsLog(workFolder(cfg.Bundle)); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return d, err
}

// worstPairs is how many pairs a report lists.
const worstPairs = 20

//go:embed report.html
var reportPage string

// writeReport writes d as one HTML page that loads nothing from elsewhere.
func writeReport(path string, d reportData) error {
	page, err := template.New("report").Parse(reportPage)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	view, err := newReportView(d)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write report %s: %w", path, err)
	}
	if err := writeFile(path, func(w io.Writer) error { return page.Execute(w, view) }); err != nil {
		return fmt.Errorf("write report %s: %w", path, err)
	}
	return nil
}

// reportView is what the page's template reads.
type reportView struct {
	reportData
	Spearman, Low, High string
	Tiles               []fact
	Training            []reportChart
	Scores              []reportChart
	Tenths              []tenthRow
	Worst               []worstRow
}

func newReportView(d reportData) (reportView, error) {
	e := d.Evaluation
	v := reportView{reportData: d, Spearman: figure(e.Spearman)}
	if e.Interval.Resamples > 0 {
		v.Low, v.High = figure(e.Interval.Low), figure(e.Interval.High)
	}
	v.Tiles = append([]fact{
		{"pairs scored", fmt.Sprint(e.Pairs)},
		{"pairs without a video", fmt.Sprint(e.Missing)},
		{"mean absolute error", cell(e.meanAbsError())},
		{"calibration error", cell(e.calibrationError())},
	}, d.Facts...)
	v.Tenths, v.Worst = tenthRows(e), worstRows(e, d.Titles)
	var err error
	if v.Training, err = trainingCharts(d.Metrics); err != nil {
		return v, err
	}
	v.Scores, err = scoreCharts(e)
	return v, err
}

// tenthRow is a line of the table by label.
type tenthRow struct {
	Label, MeanLabel, MeanScore, Error, Spearman string
	Pairs                                        int
	Share                                        int // of the fullest tenth, in percent
}

func tenthRows(e Evaluation) []tenthRow {
	most := 1
	for _, t := range e.ByLabel {
		most = max(most, t.Pairs)
	}
	var rows []tenthRow
	for _, t := range e.ByLabel {
		rows = append(rows, tenthRow{
			Label: fmt.Sprintf("%.1f – %.1f", t.From, t.To), Pairs: t.Pairs, Share: 100 * t.Pairs / most,
			MeanLabel: cell(t.MeanLabel), MeanScore: cell(t.MeanScore), Error: cell(t.MeanAbsError), Spearman: cell(t.Spearman),
		})
	}
	return rows
}

// worstRow is one of the pairs whose score is farthest from its label.
type worstRow struct {
	A, B, TitleA, TitleB        string
	Label, Score, Cosine, Error string
	TooHigh                     bool
}

func worstRows(e Evaluation, titles map[string]string) []worstRow {
	miss := func(i int) float64 { return math.Abs(e.Scores[i] - e.Labels[i]) }
	order := make([]int, len(e.Scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(miss(b), miss(a)) })
	var rows []worstRow
	for _, i := range order[:min(len(order), worstPairs)] {
		p := e.Scored[i]
		rows = append(rows, worstRow{
			A: p.A, B: p.B, TitleA: titles[p.A], TitleB: titles[p.B], TooHigh: e.Scores[i] > e.Labels[i],
			Label: fmt.Sprintf("%.2f", e.Labels[i]), Score: fmt.Sprintf("%.2f", e.Scores[i]),
			Cosine: fmt.Sprintf("%.3f", e.Cosines[i]), Error: fmt.Sprintf("%+.2f", e.Scores[i]-e.Labels[i]),
		})
	}
	return rows
}
