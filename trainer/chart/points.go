package chart

import (
	"html/template"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// maxPoints is up to how many points are drawn one by one. Of more, a dot says
// by its strength how many lie around it.
const maxPoints = 1200

// Points draws points of the unit square, and lines over them. However many
// there are, the drawing stays small.
func Points(a Axes, x, y []float64, lines ...Line) (template.HTML, error) {
	p := newPlot(a)
	points := finitePoints(x, y)
	switch {
	case len(points) == 0:
	case len(points) <= maxPoints:
		dots, err := scatter(points, Blue, 11, 2.4)
		if err != nil {
			return "", err
		}
		p.Add(dots)
	default:
		p.Add(countCells(points))
	}
	for _, l := range lines {
		if err := addLine(p, l); err != nil {
			return "", err
		}
	}
	return finish(p, a)
}

// cellsX are as many as labels have steps; scores are finer.
const (
	cellsX = 20
	cellsY = 40
)

// cells are the counts of a grid over the unit square, each cell around a
// multiple of its width.
type cells struct {
	count [cellsX + 1][cellsY + 1]int
	most  int
}

func countCells(points plotter.XYs) *cells {
	var c cells
	for _, p := range points {
		i := int(math.Round(cellsX * max(0, min(1, p.X))))
		j := int(math.Round(cellsY * max(0, min(1, p.Y))))
		c.count[i][j]++
		c.most = max(c.most, c.count[i][j])
	}
	return &c
}

// Plot draws a cell in a strength that grows with the logarithm of its count:
// a third of the challenge's labels are 0, and the rest should show, too.
func (c *cells) Plot(canvas draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&canvas)
	const half = 0.46 // of a cell, which leaves a gap to the next
	for i, column := range c.count {
		for j, n := range column {
			if n == 0 {
				continue
			}
			strength := 2 + int(math.Round((opaque-3)*math.Log(float64(1+n))/math.Log(float64(1+c.most))))
			canvas.SetColor(paint(Blue, strength))
			x, y := float64(i), float64(j)
			left, right := toX((x-half)/cellsX), toX((x+half)/cellsX)
			low, high := toY((y-half)/cellsY), toY((y+half)/cellsY)
			canvas.Fill(vg.Rectangle{Min: vg.Point{X: left, Y: low}, Max: vg.Point{X: right, Y: high}}.Path())
		}
	}
}

// starGlyph is a filled star of five points.
type starGlyph struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (starGlyph) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	c.SetColor(style.Color)
	var star vg.Path
	for i := range 10 {
		r := float64(style.Radius)
		if i%2 == 1 {
			r *= 0.42
		}
		angle := math.Pi/2 + float64(i)*math.Pi/5
		corner := vg.Point{X: at.X + vg.Length(r*math.Cos(angle)), Y: at.Y + vg.Length(r*math.Sin(angle))}
		if i == 0 {
			star.Move(corner)
		} else {
			star.Line(corner)
		}
	}
	star.Close()
	c.Fill(star)
}
