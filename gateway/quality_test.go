package gateway

import (
	"fmt"
	"testing"
	"time"

	"videosim/shared/vecdb"
)

// gauge is what the meter's gauge says.
func (r *rig) gauge(name string) float64 {
	r.t.Helper()
	families, err := r.gathered.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetGauge().GetValue()
		}
	}
	r.t.Fatalf("no gauge %s", name)
	return 0
}

// Live queries are checked against the stream: an index that has lost rows, or
// holds wrong vectors for some, lowers the gauge, and a mended one lifts it.
func TestDamagedIndexLowersRecall(t *testing.T) {
	r := newRig(t, func(c *Config) { c.QualityInterval = time.Hour })
	r.fill(200)
	r.store(200)
	round := func() float64 {
		t.Helper()
		for i := range 8 {
			r.call("GET", fmt.Sprintf("/v1/videos/v%d/similar?k=10", i), "").want(200)
		}
		if err := r.meter.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.gauge("videosim_gateway_recall_at_k")
	}
	if got := round(); got != 1 {
		t.Errorf("recall of a sound index: %v", got)
	}
	var lost []string
	for i := 8; i < 200; i += 4 {
		lost = append(lost, fmt.Sprintf("v%d", i))
	}
	if err := r.index.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	if got := round(); got < 0.6 || got > 0.9 {
		t.Errorf("recall without a quarter of the rows: %v", got)
	}
	r.fill(200)
	if got := round(); got != 1 {
		t.Errorf("recall of a mended index: %v", got)
	}
	var wrong []vecdb.Record
	for i := 8; i < 200; i += 2 {
		wrong = append(wrong, vecdb.Record{ID: fmt.Sprintf("v%d", i), Embedding: vectorOf(fmt.Sprint("wrong ", i)), Sequence: uint64(i + 1)})
	}
	if err := r.index.Upsert(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	if got := round(); got > 0.75 {
		t.Errorf("recall with half of the vectors wrong: %v", got)
	}
}
