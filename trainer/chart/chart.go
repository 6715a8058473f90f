// Package chart draws the charts of a report as SVG to be put into a page,
// with gonum's plot. Colours are the page's CSS variables (--ink, --grid,
// --c0 to --c4), so a chart follows the page from light to dark. A library in
// JavaScript would be 1 MB a page, or an address to load it from.
package chart

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Color is one of the page's.
type Color int

// The colours, in the order of their variables.
const (
	Blue Color = iota
	Orange
	Green
	Red
	Purple
	ink
	grid
)

// CSS is what a style says of the colour.
func (c Color) CSS() string {
	switch c {
	case ink:
		return "var(--ink)"
	case grid:
		return "var(--grid)"
	}
	return fmt.Sprintf("var(--c%d)", int(c))
}

// opaque is the strength of a colour that hides what lies behind.
const opaque = 31

// paint is a stand-in that gonum writes and withVariables finds again: the
// colour in green, its strength in blue. Values are spread by eight because
// gonum's way through floats may lose one.
func paint(c Color, strength int) color.Color {
	return color.RGBA{R: 4, G: uint8(c)<<3 + 4, B: uint8(strength)<<3 + 4, A: 255}
}

var painted = regexp.MustCompile(`(fill|stroke):#0[34]([0-9A-F]{2})([0-9A-F]{2})`)

func withVariables(svg []byte) []byte {
	return painted.ReplaceAllFunc(svg, func(match []byte) []byte {
		parts := painted.FindSubmatch(match)
		part := func(i int) int {
			n, err := strconv.ParseUint(string(parts[i]), 16, 8)
			if err != nil {
				panic(err) // the pattern lets nothing else through
			}
			return int(n >> 3)
		}
		out := fmt.Sprintf("%s:%s", parts[1], Color(part(2)).CSS())
		if strength := part(3); strength < opaque {
			out += fmt.Sprintf(";%s-opacity:%.2f", parts[1], float64(strength)/opaque)
		}
		return []byte(out)
	})
}

// Axes are what is written along a chart's sides, and how far they go: to the
// data's ends where From equals To.
type Axes struct {
	X, Y   string
	XRange Range
	YRange Range
}

// Range is a stretch of an axis.
type Range struct{ From, To float64 }

// Unit is the scale of labels and scores, with room for the marks at its ends.
func Unit() Range { return Range{-0.02, 1.02} }

// size of the drawing; the page scales it to what there is.
const (
	width  = 300
	height = 205
)

func newPlot(a Axes) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color = paint(ink, 12)
		axis.LineStyle.Color = paint(ink, 12)
		axis.LineStyle.Width = vg.Points(0.7)
		axis.Tick.LineStyle = axis.LineStyle
		axis.Tick.Label.Color = paint(ink, 22)
		axis.Tick.Label.Font.Size = 9
		axis.Tick.Length = 3
		axis.Label.TextStyle.Color = paint(ink, 22)
		axis.Label.TextStyle.Font.Size = 9.5
		axis.Label.Padding = 3
		axis.Padding = 4
	}
	p.X.Label.Text, p.Y.Label.Text = a.X, a.Y
	lines := plotter.NewGrid()
	lines.Vertical.Color = nil
	lines.Horizontal.Color = paint(grid, opaque)
	lines.Horizontal.Width = vg.Points(0.7)
	p.Add(lines)
	return p
}

// finish fixes the axes, which the data has moved, and draws.
func finish(p *plot.Plot, a Axes) (template.HTML, error) {
	for _, side := range []struct {
		axis *plot.Axis
		to   Range
	}{{&p.X, a.XRange}, {&p.Y, a.YRange}} {
		if side.to.From != side.to.To {
			side.axis.Min, side.axis.Max = side.to.From, side.to.To
		}
	}
	canvas := vgsvg.New(width, height)
	p.Draw(draw.Crop(draw.New(canvas), 2, -8, 2, -6)) // labels at the ends stand out
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return "", fmt.Errorf("draw chart: %w", err)
	}
	svg := out.Bytes()
	svg = svg[bytes.Index(svg, []byte("<svg")):] // no XML declaration inside a page
	return template.HTML(withVariables(svg)), nil
}

// finitePoints leaves out what cannot be drawn.
func finitePoints(x, y []float64) plotter.XYs {
	var out plotter.XYs
	for i := range x {
		if sum := x[i] + y[i]; !math.IsNaN(sum) && !math.IsInf(sum, 0) {
			out = append(out, plotter.XY{X: x[i], Y: y[i]})
		}
	}
	return out
}
