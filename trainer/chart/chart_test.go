package chart

import (
	"encoding/xml"
	"errors"
	"html/template"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
)

// wellFormed checks that a drawing is XML, holds no colour of its own and
// refers to nothing outside.
func wellFormed(t *testing.T, svg template.HTML) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %.300s", err, svg)
		}
	}
	if own := regexp.MustCompile(`#[0-9A-Fa-f]{6}`).FindString(string(svg)); own != "" {
		t.Errorf("a colour that does not follow the page: %s", own)
	}
	if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
		t.Error("a coordinate that is no number")
	}
}

func TestColoursFollowThePage(t *testing.T) {
	for c := Blue; c <= grid; c++ {
		for strength := range opaque + 1 {
			r, g, b, a := paint(c, strength).RGBA()
			scale := 255.0 / float64(a)
			written := []byte("fill:#" + hex(float64(r)*scale) + hex(float64(g)*scale) + hex(float64(b)*scale))
			got := string(withVariables(written))
			if !strings.HasPrefix(got, "fill:"+c.CSS()) || strings.Contains(got, "opacity") != (strength < opaque) {
				t.Fatalf("colour %d of strength %d became %s", c, strength, got)
			}
		}
	}
}

func hex(x float64) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[int(x)>>4], digits[int(x)&15]})
}

func TestLinesWithAStar(t *testing.T) {
	svg, err := Lines(Axes{X: "step", Y: "a < b"},
		Line{Color: Green, X: []float64{1, 2, 3}, Y: []float64{0.5, math.NaN(), 0.7}, Dots: true, Star: 3},
		Line{X: []float64{1, 2}, Y: []float64{math.NaN(), math.Inf(1)}},
		Line{Dashed: true, X: []float64{0, 1}, Y: []float64{0, 1}},
	)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, svg)
	for _, want := range []string{"var(--c2)", "a &lt; b", "step", "stroke-dasharray"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the drawing lacks %q", want)
		}
	}
}

func TestALongLineIsThinned(t *testing.T) {
	var x, y []float64
	for i := range 100_000 {
		x, y = append(x, float64(i)), append(y, math.Sin(float64(i)/9000))
	}
	svg, err := Lines(Axes{}, Line{X: x, Y: y})
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, svg)
	if len(svg) > 20_000 {
		t.Errorf("%d bytes for one line", len(svg))
	}
}

func TestPointsStaySmall(t *testing.T) {
	for _, n := range []int{0, 1, 300, 70_000} {
		var x, y []float64
		for i := range n {
			x, y = append(x, float64(i*7919%21)/20), append(y, math.Abs(math.Sin(float64(i))))
		}
		svg, err := Points(Axes{X: "label", Y: "score", XRange: Unit(), YRange: Unit()}, x, y)
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, svg)
		if len(svg) > 200_000 {
			t.Errorf("%d bytes for %d points", len(svg), n)
		}
		if drawn := strings.Contains(string(svg), "var(--c0)"); drawn != (n > 0) {
			t.Errorf("%d points, drawn: %v", n, drawn)
		}
	}
}
