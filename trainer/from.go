package trainer

import (
	"bytes"
	"fmt"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/text"
)

// start is what a run starts from: a bundle, such as one that trainer import
// has made of a pretrained text encoder, or nothing.
type start struct {
	bundle *bundle.Bundle
	vocab  []byte
}

// origin is where in a bundle the first values of a network are.
type origin struct{ model, prefix string }

// The places of every stage's network.
var (
	fromText     = origin{bundle.Late, "text_model."}
	fromVideo    = origin{bundle.Late, "video_model."}
	fromCross    = origin{bundle.Early, "bert."}
	fromLateHead = origin{bundle.Late, ""}
	fromHead     = origin{bundle.Early, ""}
)

func openStart(dir string) (start, error) {
	if dir == "" {
		return start{vocab: text.ChineseVocab()}, nil
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return start{}, fmt.Errorf("start from %s: %w", dir, err)
	}
	vocab, err := b.Vocab()
	return start{b, vocab}, err
}

// fingerprint names the bundle, "" without one.
func (x start) fingerprint() string {
	if x.bundle == nil {
		return ""
	}
	return x.bundle.Manifest.Fingerprint
}

// config is the preset's, or the bundle's with the preset's dropout where the
// bundle has none to train with.
func (x start) config(preset string) (model.Config, error) {
	own, err := model.Preset(preset)
	if err != nil || x.bundle == nil {
		return own, err
	}
	c, err := model.ParseConfig(x.bundle.Config)
	if err != nil {
		return c, fmt.Errorf("start from %s: %w", x.bundle.Dir, err)
	}
	if n := bytes.Count(bytes.TrimRight(x.vocab, "\n"), []byte("\n")) + 1; n > c.Text.Vocab {
		return c, errs.New(errs.Corrupt, "start from %s: expected at most %d lines of vocabulary, found %d", x.bundle.Dir, c.Text.Vocab, n)
	}
	return c, nil
}

// into overwrites a network's new values with the bundle's, where the bundle
// has a tensor of that name and shape: a tag head for other tags stays new.
func (x start) into(p *nn.Params, at origin) error {
	if x.bundle == nil {
		return nil
	}
	f, err := x.bundle.Tensors(at.model)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := p.LoadMatching(at.prefix, f.Tensor)
	if err != nil {
		return fmt.Errorf("start from %s: %w", f.Path, err)
	}
	if n == 0 {
		return errs.New(errs.Invalid, "start from %s: expected tensors under %q of the network's names and shapes, found none", f.Path, at.prefix)
	}
	return nil
}
