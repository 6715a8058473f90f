package trainer

import (
	"context"
	"math"
	"slices"
	"testing"

	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/testkit"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// wholeNet is late fusion in which everything learns.
func wholeNet(r *run, net *model.Late) pairNet[*video.Batch] {
	h, d := int64(r.model.Text.Hidden), int64(r.model.Video.FrameDim)
	return pairNet[*video.Batch]{
		net: net.Params(),
		encode: func(s *torch.Scope, b *video.Batch) torch.Tensor {
			in := r.inputs(s, b)
			return torch.Cat(s, 1, net.Text.Forward(s, in), net.Video.Forward(s, in))
		},
		head: func(s *torch.Scope, rows torch.Tensor) torch.Tensor {
			return net.Head(s, torch.Narrow(s, rows, 1, 0, h), torch.Narrow(s, rows, 1, h, d)).Embedding
		},
		learns: true,
	}
}

// gradients runs f on the engine and returns the loss and all gradients after
// it, which it clears.
func gradients(t *testing.T, r *run, p *nn.Params, f func(s *torch.Scope) lossValues) (lossValues, map[string][]float32) {
	t.Helper()
	var loss lossValues
	grads := map[string][]float32{}
	err := r.engine.Do(context.Background(), func(s *torch.Scope) error {
		torch.Seed(torch.CPU, 7)
		loss = f(s)
		for _, e := range p.All() {
			if g := torch.Grad(s, e.Tensor); g.Defined() {
				grads[e.Name] = g.Float32s()
				e.Tensor.ClearGrad()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return loss, grads
}

func sameGradients(t *testing.T, got, want map[string][]float32) {
	t.Helper()
	if len(got) != len(want) || len(want) < 20 {
		t.Fatalf("%d gradients, want %d", len(got), len(want))
	}
	for name := range want {
		// Biases before a batch normalisation have a true gradient of 0: noise.
		gradClose(t, name, got[name], want[name])
	}
}

// openLate is a run with a late fusion of which everything is trained.
func openLate(t *testing.T, dropout float64, micro int) (*run, *model.Late) {
	cfg := smallConfig(t, smallCorpus(t, 60, 60))
	cfg.Dropout, cfg.MicroBatch = &dropout, micro
	r := openTestRun(t, cfg)
	n, err := build(context.Background(), r, seedLate, fromLateHead, model.NewLate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.scope.Close() })
	n.net.Params().SetTrainable(func(string) bool { return true })
	return r, n.net
}

// A batch of pairs in parts has the loss and the gradients of the batch as a
// whole, batch normalisation and unsupervised term included.
func TestPairsInPartsLearnTheSame(t *testing.T) {
	items := []int{3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 7}
	learn := func(micro int) (lossValues, map[string][]float32) {
		r, net := openLate(t, 0, micro)
		b, err := loadPairs(r, items, r.collate)
		if err != nil {
			t.Fatal(err)
		}
		if want := (len(items) + micro - 1) / max(micro, 1); micro > 0 && len(b.parts) != want {
			t.Fatalf("%d parts, want %d", len(b.parts), want)
		}
		return gradients(t, r, net.Params(), func(s *torch.Scope) lossValues {
			return learnPairs(r, s, wholeNet(r, net), b, len(items))
		})
	}
	want, wantGrads := learn(0)
	for _, micro := range []int{1, 4} {
		got, grads := learn(micro)
		if math.Abs(got.Total-want.Total) > 1e-5*want.Total {
			t.Errorf("parts of %d: loss %v, want %v", micro, got, want)
		}
		sameGradients(t, grads, wantGrads)
	}
}

// With dropout, encoding a part again draws the numbers of the first time.
func TestPartsAreEncodedAgainWithTheSameRandomNumbers(t *testing.T) {
	r, net := openLate(t, 0.3, 3)
	items := []int{0, 1, 2, 3, 4, 5, 6, 7}
	b, err := loadPairs(r, items, r.collate)
	if err != nil {
		t.Fatal(err)
	}
	twice := wholeNet(r, net)
	once := twice
	once.learns = false // keeps the graph of all parts instead
	want, wantGrads := gradients(t, r, net.Params(), func(s *torch.Scope) lossValues { return learnPairs(r, s, once, b, len(items)) })
	got, grads := gradients(t, r, net.Params(), func(s *torch.Scope) lossValues { return learnPairs(r, s, twice, b, len(items)) })
	if got != want {
		t.Errorf("loss %v, want %v", got, want)
	}
	sameGradients(t, grads, wantGrads)
}

// The tag loss is a sum, so parts add up.
func TestTagsInPartsLearnTheSame(t *testing.T) {
	items := []int{3, 1, 4, 15, 9, 2, 6}
	learn := func(micro int) (lossValues, map[string][]float32) {
		dropout := 0.0
		cfg := smallConfig(t, smallCorpus(t, 60, 60))
		cfg.Dropout, cfg.MicroBatch = &dropout, micro
		r := openTestRun(t, cfg)
		n, err := build(context.Background(), r, seedCross, fromCross, model.NewEarly)
		if err != nil {
			t.Fatal(err)
		}
		defer r.free(n.scope)
		n.net.Params().SetTrainable(func(string) bool { return true })
		parts, err := r.tagBatches(items)
		if err != nil {
			t.Fatal(err)
		}
		return gradients(t, r, n.net.Params(), func(*torch.Scope) lossValues { return learnTags(r, n.net, parts) })
	}
	want, wantGrads := learn(0)
	got, grads := learn(3)
	if math.Abs(got.Total-want.Total) > 1e-5*want.Total {
		t.Errorf("loss %v, want %v", got, want)
	}
	sameGradients(t, grads, wantGrads)
}

// What a stage learns from cached towers is what the towers would have said.
func TestCachedTowersEqualTheTowers(t *testing.T) {
	r := openTestRun(t, smallConfig(t, smallCorpus(t, 60, 60)))
	ctx := context.Background()
	n, err := build(ctx, r, seedEarly, fromHead, model.NewEarlyFinetuned)
	if err != nil {
		t.Fatal(err)
	}
	defer r.free(n.scope)
	cache, err := r.cacheTowers(ctx, "towers-early", n.net.Params(), r.earlyTowers(n.net), realPositions(r.model.Text.Hidden))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	ids := pairIDs(r.corpus.split.Train)[:17]
	slices.Reverse(ids)
	whole, err := r.collate(ids)
	if err != nil {
		t.Fatal(err)
	}
	cached, err := cache.states(ids)
	if err != nil {
		t.Fatal(err)
	}
	err = r.engine.Do(ctx, func(s *torch.Scope) error {
		n.net.Params().SetTraining(false)
		in, towers := cached.inputs(s, torch.CPU)
		got := n.net.Encoder.Join(s, in, towers).Hidden
		testkit.Close(t, "hidden state", got.Float32s(), n.net.Encoder.Forward(s, r.inputs(s, whole)).Float32s(), 1e-5)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.cacheTowers(ctx, "towers-early", n.net.Params(), func(*torch.Scope, *video.Batch) torch.Tensor {
		panic("a finished cache was made anew")
	}, realPositions(r.model.Text.Hidden))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if values, _, err := again.read(ids[3]); err != nil || len(values) == 0 {
		t.Errorf("%d values, %v", len(values), err)
	}
}
