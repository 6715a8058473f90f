package trainer

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/service"
	"videosim/shared/torch"
)

// A run that starts from a bundle starts with its weights, but for a tag head
// of other tags.
func TestTrainFromABundle(t *testing.T) {
	data := smallCorpus(t, 120, 130)
	first := smallConfig(t, data)
	if _, err := Train(context.Background(), first, service.NewTestEnv(t)); err != nil {
		t.Fatal(err)
	}
	cfg := smallConfig(t, data)
	cfg.From, cfg.Seed = first.Out, 5
	r := openTestRun(t, cfg)
	r.model.Tags += 3 // as if the corpus had other tags
	n, err := build(context.Background(), r, seedCross, fromCross, model.NewEarly)
	if err != nil {
		t.Fatal(err)
	}
	defer r.free(n.scope)
	f, err := r.start.bundle.Tensors("early")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	equal := 0
	for _, e := range n.net.Params().All() {
		stored, ok := f.Tensor("bert." + e.Name)
		switch head := strings.HasPrefix(e.Name, "cls."); {
		case !ok:
			t.Errorf("the bundle has no %s", e.Name)
		case head == bytes.Equal(stored.Data, e.Tensor.Bytes()):
			t.Errorf("%s: equal to the bundle's: %v", e.Name, !head)
		default:
			equal++
		}
	}
	if equal < 20 {
		t.Errorf("%d tensors compared", equal)
	}
	if again, err := Train(context.Background(), cfg, service.NewTestEnv(t)); err != nil || again.Fingerprint == "" {
		t.Errorf("training on: %v", err)
	}
}

func TestTrainFromRefusesOtherFrames(t *testing.T) {
	data := smallCorpus(t, 60, 60)
	cfg := smallConfig(t, data)
	cfg.From = goldenBundle(t)
	before := torch.LiveTensors()
	_, err := Train(context.Background(), cfg, service.NewTestEnv(t))
	if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "frames of 64 values") {
		t.Errorf("err = %v, want a complaint about the frames", err)
	}
	if leaked := torch.LiveTensors() - before; leaked != 0 {
		t.Errorf("leaked %d tensors", leaked)
	}
}
