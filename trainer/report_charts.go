package trainer

import (
	"html/template"

	"videosim/shared/eval"
	"videosim/trainer/chart"
)

// reportChart is a chart with what stands around it.
type reportChart struct {
	Title, Note string
	SVG         template.HTML
	Legend      []legendEntry
}

type legendEntry struct {
	Name  string
	Color template.CSS
}

func newChart(title, note string, axes chart.Axes, lines ...chart.Line) (reportChart, error) {
	svg, err := chart.Lines(axes, lines...)
	return reportChart{title, note, svg, legend(lines)}, err
}

func legend(lines []chart.Line) []legendEntry {
	var out []legendEntry
	for _, l := range lines {
		if l.Name != "" {
			out = append(out, legendEntry{l.Name, template.CSS(l.Color.CSS())})
		}
	}
	return out
}

// trainingCharts are the curves of a run's stages, in their order: Spearman by
// epoch of all together, then the losses of each.
func trainingCharts(log []metric) ([]reportChart, error) {
	var names []string
	steps, epochs := map[string][]metric{}, map[string][]metric{}
	for _, m := range log {
		switch m.Event {
		case "step":
			steps[m.Stage] = append(steps[m.Stage], m)
		case "epoch":
			if len(epochs[m.Stage]) == 0 {
				names = append(names, m.Stage)
			}
			epochs[m.Stage] = append(epochs[m.Stage], m)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	first, err := spearmanChart(names, epochs)
	if err != nil {
		return nil, err
	}
	charts := []reportChart{first}
	for _, name := range names {
		c, err := lossChart(name, steps[name], epochs[name])
		if err != nil {
			return nil, err
		}
		charts = append(charts, c)
	}
	return charts, nil
}

func spearmanChart(names []string, epochs map[string][]metric) (reportChart, error) {
	var lines []chart.Line
	for i, name := range names {
		l := chart.Line{Name: name, Color: chart.Color(i % (int(chart.Purple) + 1)), Dots: true}
		for _, m := range epochs[name] {
			if m.Spearman != nil {
				l.X, l.Y = append(l.X, float64(m.Epoch)), append(l.Y, *m.Spearman)
				if m.Best {
					l.Star = len(l.X)
				}
			}
		}
		lines = append(lines, l)
	}
	return newChart("Spearman by epoch", "On the held-out pairs. A star marks the epoch that was kept.", chart.Axes{X: "epoch", Y: "spearman"}, lines...)
}

// lossChart shows a stage's loss by step; a stage too short for lines of steps
// by epoch.
func lossChart(name string, steps, epochs []metric) (reportChart, error) {
	if len(steps) < 2 {
		steps = epochs
	}
	line := func(title string, c chart.Color, value func(metric) *float64) chart.Line {
		l := chart.Line{Name: title, Color: c, Dots: len(steps) < 12}
		for _, m := range steps {
			if v := value(m); v != nil {
				l.X, l.Y = append(l.X, float64(m.Step)), append(l.Y, *v)
			}
		}
		return l
	}
	lines := []chart.Line{line("loss", chart.Blue, func(m metric) *float64 { return m.Loss })}
	for _, part := range []chart.Line{
		line("supervised", chart.Orange, func(m metric) *float64 { return m.Supervised }),
		line("unsupervised", chart.Green, func(m metric) *float64 { return m.Unsupervised }),
	} {
		if len(part.X) > 0 {
			lines = append(lines, part)
		}
	}
	return newChart("Loss: "+name, "", chart.Axes{X: "step", Y: "loss"}, lines...)
}

// scoreCharts compare scores with labels.
func scoreCharts(e Evaluation) ([]reportChart, error) {
	if len(e.Scores) == 0 {
		return nil, nil
	}
	diagonal := chart.Line{X: []float64{0, 1}, Y: []float64{0, 1}, Dashed: true}
	unit := chart.Axes{X: "label", Y: "score", XRange: chart.Unit(), YRange: chart.Unit()}
	mean := means(e.ByLabel, func(t eval.Tenth) (float64, float64) { return t.MeanLabel, t.MeanScore })
	mean.Name, mean.Color = "mean score of a tenth of the labels", chart.Orange
	svg, err := chart.Points(unit, e.Labels, e.Scores, diagonal, mean)
	if err != nil {
		return nil, err
	}
	predicted := reportChart{"Predicted against human score", "Every pair; the colour is stronger where there are many.", svg, legend([]chart.Line{mean})}

	reliable := means(e.ByScore, func(t eval.Tenth) (float64, float64) { return t.MeanScore, t.MeanLabel })
	reliable.Color, reliable.Dots = chart.Blue, true
	calibration, err := newChart("Calibration", "Pairs grouped by score: what people said on average. On the dashed line a score means what it says.",
		chart.Axes{X: "mean score", Y: "mean label", XRange: chart.Unit(), YRange: chart.Unit()}, diagonal, reliable)
	if err != nil {
		return nil, err
	}
	return []reportChart{predicted, calibration}, nil
}

// means is the line through two figures of the tenths that have pairs.
func means(tenths []eval.Tenth, of func(eval.Tenth) (x, y float64)) chart.Line {
	var l chart.Line
	for _, t := range tenths {
		if t.Pairs > 0 {
			x, y := of(t)
			l.X, l.Y = append(l.X, x), append(l.Y, y)
		}
	}
	return l
}
