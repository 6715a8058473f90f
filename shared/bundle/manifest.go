package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

// FormatVersion is the version of the folder's layout.
//
//	1  config.json, late.safetensors, early.safetensors, vocab.txt, manifest.json
const FormatVersion = 1

// maxManifestBytes is far above any real manifest (a few KB).
const maxManifestBytes = 1 << 20

// Manifest is what manifest.json says about a bundle.
type Manifest struct {
	FormatVersion int    `json:"format_version"`
	Fingerprint   string `json:"fingerprint"`
	// DataDigest names the data that the models were trained on; two runs on
	// the same files have the same one. Empty where weights were imported.
	DataDigest   string    `json:"data_digest,omitempty"`
	Preset       string    `json:"preset,omitempty"`
	EmbeddingDim int       `json:"embedding_dim"` // numbers in an embedding
	FrameDim     int       `json:"frame_dim"`     // numbers in a frame
	CreatedAt    time.Time `json:"created_at"`
	// Metrics are measures of the training run, by name. One that is
	// undefined (NaN) has no number in JSON and is left out.
	Metrics     map[string]float64 `json:"metrics,omitempty"`
	Calibration eval.Calibration   `json:"calibration"`
}

// ReadManifest reads a bundle's manifest alone: cheap, and nothing else is
// checked. No manifest is errs.NotFound, an unreadable one errs.Corrupt.
func ReadManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, manifestFile)
	info, err := os.Stat(path)
	if err != nil {
		return Manifest{}, openError(err)
	}
	if info.Size() > maxManifestBytes {
		return Manifest{}, errs.New(errs.Corrupt, "%s: expected at most %d bytes, found %d", path, maxManifestBytes, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Manifest{}, openError(err)
	}
	m, err := parseManifest(data)
	if err != nil {
		return Manifest{}, errs.New(errs.Corrupt, "%s: %w", path, err)
	}
	return m, nil
}

// parseManifest reads the version first: a newer layout may differ in
// everything else, and should be refused for that reason alone.
func parseManifest(data []byte) (Manifest, error) {
	var version struct {
		FormatVersion int `json:"format_version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return Manifest{}, err
	}
	if version.FormatVersion != FormatVersion {
		return Manifest{}, fmt.Errorf("format_version: expected %d, found %d (written by another release of videosim)", FormatVersion, version.FormatVersion)
	}
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, err
	}
	return m, m.validate()
}

func (m Manifest) validate() error {
	if !ValidFingerprint(m.Fingerprint) {
		return fmt.Errorf("fingerprint: expected %d hex digits, found %q", fingerprintDigits, m.Fingerprint)
	}
	if m.EmbeddingDim <= 0 {
		return fmt.Errorf("embedding_dim: expected a positive number, found %d", m.EmbeddingDim)
	}
	if m.FrameDim <= 0 {
		return fmt.Errorf("frame_dim: expected a positive number, found %d", m.FrameDim)
	}
	return m.Calibration.Validate()
}

// encode renders the manifest for people to read and diff.
func (m Manifest) encode() ([]byte, error) {
	defined := make(map[string]float64, len(m.Metrics))
	for name, value := range m.Metrics {
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			defined[name] = value
		}
	}
	m.Metrics = defined
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

var fingerprintPattern = regexp.MustCompile(fmt.Sprintf("^[0-9a-f]{%d}$", fingerprintDigits))

// ValidFingerprint says whether s has the form of a fingerprint.
func ValidFingerprint(s string) bool { return fingerprintPattern.MatchString(s) }
