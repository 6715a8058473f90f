package tinybundle_test

import (
	"path/filepath"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/testkit/tinybundle"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	first := tinybundle.Write(t, filepath.Join(dir, "a"))
	if again := tinybundle.Write(t, filepath.Join(dir, "b")); again != first {
		t.Errorf("two bundles of one seed: %s and %s", first, again)
	}
	if other := tinybundle.WriteSeeded(t, filepath.Join(dir, "c"), 7); other == first {
		t.Errorf("bundles of two seeds share the fingerprint %s", first)
	}
	b, err := bundle.Open(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if b.Manifest.Fingerprint != first || b.Manifest.EmbeddingDim != 256 {
		t.Errorf("manifest %+v, want fingerprint %s and 256 numbers", b.Manifest, first)
	}
}
