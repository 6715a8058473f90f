package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"

	"videosim/shared/errs"
)

// Names of the two models' weights.
const (
	Late  = "late"
	Early = "early"
)

// Bundle is a checked bundle on disk.
type Bundle struct {
	Dir      string
	Manifest Manifest
	Config   json.RawMessage // config.json, for package model to decode
}

// Open checks the bundle in dir: format version, manifest, the fingerprint
// over every byte of the other files (about as long as reading them once: a
// few seconds for the 2 GB of full-size models), and the header of both
// weight files. A file that fails is errs.Corrupt and the
// message says which, what was expected and what was found; a folder without
// a bundle is errs.NotFound.
func Open(dir string) (*Bundle, error) {
	manifest, err := ReadManifest(dir)
	if err != nil {
		return nil, notABundle(dir, err)
	}
	if err := checkFiles(dir, manifest.Fingerprint); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, configFile)
	config, err := os.ReadFile(path)
	if err != nil {
		return nil, openError(err)
	}
	if !json.Valid(config) {
		return nil, errs.New(errs.Corrupt, "%s: expected JSON, found %.40q", path, config)
	}
	b := &Bundle{Dir: dir, Manifest: manifest, Config: config}
	for _, model := range []string{Late, Early} {
		weights, err := b.Tensors(model)
		if err != nil {
			return nil, err
		}
		if err := weights.Close(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// notABundle tells a folder without a manifest from a broken one.
func notABundle(dir string, err error) error {
	if errs.KindOf(err) != errs.NotFound {
		return err
	}
	return errs.New(errs.NotFound, "%s is no bundle: %w (trainer train and trainer import write bundles)", dir, err)
}

// checkFiles compares the files with the manifest's fingerprint.
func checkFiles(dir, expected string) error {
	found, err := Fingerprint(dir)
	if errs.KindOf(err) == errs.NotFound {
		return errs.New(errs.Corrupt, "bundle %s is incomplete: %w", dir, err)
	}
	if err != nil {
		return err
	}
	if found != expected {
		return errs.New(errs.Corrupt, "bundle %s: its files have fingerprint %s, %s expects %s: a file was changed or copied only in part", dir, found, manifestFile, expected)
	}
	return nil
}

// Tensors opens the weights of one model, Late or Early. The caller closes
// the file when the weights are loaded.
func (b *Bundle) Tensors(model string) (*TensorFile, error) {
	switch model {
	case Late:
		return OpenSafetensors(filepath.Join(b.Dir, lateFile))
	case Early:
		return OpenSafetensors(filepath.Join(b.Dir, earlyFile))
	}
	return nil, errs.New(errs.Invalid, "a bundle has weights %q and %q, not %q", Late, Early, model)
}

// Vocab reads the vocabulary, a token a line.
func (b *Bundle) Vocab() ([]byte, error) {
	vocab, err := os.ReadFile(filepath.Join(b.Dir, vocabFile))
	if err != nil {
		return nil, openError(err)
	}
	return vocab, nil
}
