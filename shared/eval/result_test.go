package eval_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/testkit"
)

// TestGoldenResult: from both models' float32 outputs to the three
// files, byte for byte.
func TestGoldenResult(t *testing.T) {
	fixture := testkit.Fixture(t, "fusion.safetensors")
	var ids []string
	testkit.GoldenJSON(t, "fusion_ids.json", &ids)
	late := halves(t, fixture.Of(t, "embedding1"))
	early := halves(t, fixture.Of(t, "embedding2"))
	fused, err := eval.FuseHalves(late, early)
	if err != nil {
		t.Fatal(err)
	}
	for file, rows := range map[string][][]float64{
		"fusion_model1.json": late, "fusion_model2.json": early, "fusion_result.json": fused,
	} {
		sameBytes(t, file, ids, rows)
	}
}

// TestGoldenFusionOfFiles starts from the models' files of the end-to-end
// run and makes its result file.
func TestGoldenFusionOfFiles(t *testing.T) {
	ids, late := readRows(t, "e2e/model1.json")
	_, early := readRows(t, "e2e/model2.json")
	fused, err := eval.FuseHalves(late, early)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "e2e/model1.json", ids, late)
	sameBytes(t, "e2e/result.json", ids, fused)
}

func sameBytes(t *testing.T, file string, ids []string, rows [][]float64) {
	t.Helper()
	var got bytes.Buffer
	if err := eval.WriteResult(&got, ids, rows); err != nil {
		t.Fatal(err)
	}
	want := testkit.GoldenFile(t, file)
	if bytes.Equal(got.Bytes(), want) {
		return
	}
	at := 0
	for at < min(got.Len(), len(want)) && got.Bytes()[at] == want[at] {
		at++
	}
	t.Errorf("%s differs at byte %d: got …%.60q, want …%.60q", file, at, got.Bytes()[at:], want[at:])
}

func halves(t *testing.T, x testkit.Tensor) [][]float64 {
	t.Helper()
	values, width := x.Float32s(), int(x.Shape[1])
	var rows [][]float32
	for ; len(values) > 0; values = values[width:] {
		rows = append(rows, values[:width])
	}
	out, err := eval.HalfRows(rows)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// readRows keeps the order of ids, which encoding/json alone would not.
func readRows(t *testing.T, file string) (ids []string, rows [][]float64) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(testkit.GoldenFile(t, file)))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		id, err := dec.Token()
		var row []float64
		if err == nil {
			err = dec.Decode(&row)
		}
		if err != nil {
			t.Fatal(err)
		}
		ids, rows = append(ids, id.(string)), append(rows, row)
	}
	return ids, rows
}

// TestNumbersAsPythonWritesThem: the right column is what CPython prints.
func TestNumbersAsPythonWritesThem(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 1: "1.0", -1.5: "-1.5", 0.1: "0.1", 100: "100.0", 65504: "65504.0",
		0.0001: "0.0001", 0.00001: "1e-05", 0.000012: "1.2e-05", 5.960464477539063e-08: "5.960464477539063e-08",
		1e15: "1000000000000000.0", 1e16: "1e+16", 1.5e300: "1.5e+300", 9999999999999998: "9999999999999998.0",
		0.0009765625: "0.0009765625", 6.103515625e-05: "6.103515625e-05", 123456.789: "123456.789",
	} {
		if got := written(t, "i", v); got != `{"i": [`+want+`]}` {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
	if got := written(t, "i", math.Copysign(0, -1)); got != `{"i": [-0.0]}` {
		t.Errorf("negative zero: %s", got)
	}
}

func TestIDsAsPythonWritesThem(t *testing.T) {
	for id, want := range map[string]string{
		"plain":         `"plain"`,
		"视频":            `"\u89c6\u9891"`,
		"🤣":             `"\ud83e\udd23"`,
		"a\"b\\c/d":     `"a\"b\\c/d"`,
		"\n\r\t\f\b":    `"\n\r\t\f\b"`,
		"\x00\x1f\x7f~": `"\u0000\u001f\u007f~"`,
		"<&>":           `"<&>"`,
	} {
		if got := written(t, id, 1); got != `{`+want+`: [1.0]}` {
			t.Errorf("%q: got %s", id, got)
		}
	}
}

func written(t *testing.T, id string, v float64) string {
	t.Helper()
	var b strings.Builder
	if err := eval.WriteResult(&b, []string{id}, [][]float64{{v}}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRepeatedIDs(t *testing.T) {
	var b strings.Builder
	err := eval.WriteResult(&b, []string{"a", "b", "a"}, [][]float64{{1}, {2}, {3}})
	if want := `{"a": [3.0], "b": [2.0]}`; err != nil || b.String() != want {
		t.Errorf("got %s %v, want %s", b.String(), err, want)
	}
	b.Reset()
	if err := eval.WriteResult(&b, nil, nil); err != nil || b.String() != "{}" {
		t.Errorf("no videos: %s %v", b.String(), err)
	}
}

// TestHalfRounding: ties to even, subnormal halves, and no double rounding
// through float32.
func TestHalfRounding(t *testing.T) {
	tie := 1 + math.Ldexp(1, -11)     // between 1 and the next half
	above := tie + math.Ldexp(1, -40) // float32 would see the tie
	unit := math.Ldexp(1, -24)        // the smallest half
	for in, want := range map[float64]float64{
		tie:                      1,
		1 + 3*math.Ldexp(1, -11): 1 + math.Ldexp(1, -9),
		above:                    1 + math.Ldexp(1, -10),
		-above:                   -1 - math.Ldexp(1, -10),
		unit / 2:                 0,
		unit * 0.75:              unit,
		unit * 1.5:               2 * unit,
		1 - math.Ldexp(1, -13):   1,
		math.Ldexp(2047.5, -25):  math.Ldexp(1, -14),
		math.Ldexp(1, -14):       math.Ldexp(1, -14),
	} {
		if got := eval.RoundHalf(in); got != want {
			t.Errorf("%v: got %v, want %v", in, got, want)
		}
	}
}

func TestResultRefused(t *testing.T) {
	_, overflow := eval.HalfRows([][]float32{{1}, {2, 70000}})
	if errs.KindOf(overflow) != errs.Corrupt || !strings.Contains(overflow.Error(), "row 1, number 1: 70000") {
		t.Errorf("overflow: %v", overflow)
	}
	if _, err := eval.HalfRows([][]float32{{65519}}); err != nil {
		t.Errorf("65519 rounds to 65504: %v", err)
	}
	_, err := eval.FuseHalves([][]float64{{1}}, [][]float64{{1, 2}})
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("widths: %v", err)
	}
	err = eval.WriteResult(new(bytes.Buffer), []string{"v"}, [][]float64{{math.NaN()}})
	if errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), `"v"`) {
		t.Errorf("NaN: %v", err)
	}
	if err := eval.WriteResult(new(bytes.Buffer), []string{"v"}, nil); errs.KindOf(err) != errs.Invalid {
		t.Errorf("ids without rows: %v", err)
	}
}
