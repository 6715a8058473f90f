// Package bundle reads and writes the folder that a training run produces and
// that every service loads:
//
//	config.json         sizes and settings of both models
//	late.safetensors    weights of the late-fusion model
//	early.safetensors   weights of the early-fusion model
//	vocab.txt           the tokenizer's vocabulary, a token a line
//	manifest.json       format version, fingerprint, metrics, calibration
//
// The fingerprint is the bundle's identity. Any shell computes it:
//
//	cat config.json late.safetensors early.safetensors vocab.txt | sha256sum | cut -c1-12
//
// The parts need no separators: a JSON object and a safetensors file both say
// where they end.
//
//   - bundle.go: Open, which believes nothing it has not checked;
//   - write.go: Write, all or nothing;
//   - manifest.go, fingerprint.go: what manifest.json holds and how it is checked;
//   - safetensors.go, map.go, values.go: the weights' file format;
//   - checkpoint/: weights that other programs wrote.
//
// A bundle is never changed in place. Write makes a new folder beside the
// target and renames it, so a reader sees the old bundle or the new one, and
// a crash leaves the old one.
//
//	b, err := bundle.Open("bundle")
//	late, err := b.Tensors(bundle.Late)
//	defer late.Close()
//	for _, t := range late.All() { … t.Name, t.Shape, t.Data … }
package bundle
