package chart

import (
	"html/template"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is a row of points.
type Line struct {
	Name   string // for the legend
	Color  Color
	X, Y   []float64
	Dots   bool // mark every point
	Dashed bool
	Star   int // the point with a star, from 1; 0: none
}

// maxLinePoints is as much as a chart of this size can show.
const maxLinePoints = 240

// Lines draws lines over each other. Points that are not finite are left out;
// of a long line neighbouring points become their mean.
func Lines(a Axes, lines ...Line) (template.HTML, error) {
	p := newPlot(a)
	for _, l := range lines {
		if err := addLine(p, l); err != nil {
			return "", err
		}
	}
	return finish(p, a)
}

func addLine(p *plot.Plot, l Line) error {
	points := thin(finitePoints(l.X, l.Y), maxLinePoints)
	if len(points) == 0 {
		return nil
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = paint(l.Color, opaque), vg.Points(1.6)
	if l.Dashed {
		line.Color, line.Width = paint(ink, 14), vg.Points(1)
		line.Dashes = []vg.Length{4, 3}
	}
	p.Add(line)
	if l.Dots {
		dots, err := scatter(points, l.Color, opaque, 2.2)
		if err != nil {
			return err
		}
		p.Add(dots)
	}
	if at := l.Star - 1; at >= 0 && at < len(l.X) {
		star, err := scatter(finitePoints(l.X[at:at+1], l.Y[at:at+1]), l.Color, opaque, 6.5)
		if err != nil {
			return err
		}
		star.Shape = starGlyph{}
		p.Add(star)
	}
	return nil
}

func scatter(points plotter.XYs, c Color, strength int, radius vg.Length) (*plotter.Scatter, error) {
	s, err := plotter.NewScatter(points)
	if err != nil {
		return nil, err
	}
	s.GlyphStyle = draw.GlyphStyle{Color: paint(c, strength), Radius: radius, Shape: draw.CircleGlyph{}}
	return s, nil
}

// thin makes at most limit points, each the mean of its neighbours.
func thin(points plotter.XYs, limit int) plotter.XYs {
	if len(points) <= limit {
		return points
	}
	out := make(plotter.XYs, 0, limit)
	for i := range limit {
		group := points[i*len(points)/limit : (i+1)*len(points)/limit]
		var mean plotter.XY
		for _, p := range group {
			mean.X += p.X / float64(len(group))
			mean.Y += p.Y / float64(len(group))
		}
		out = append(out, mean)
	}
	return out
}
