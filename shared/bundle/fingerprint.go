package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
)

// Names of the files in a bundle.
const (
	configFile   = "config.json"
	lateFile     = "late.safetensors"
	earlyFile    = "early.safetensors"
	vocabFile    = "vocab.txt"
	manifestFile = "manifest.json"
)

// fingerprintDigits is how much of the SHA-256 names a bundle: 48 bits, so two
// of a thousand bundles agree with a chance of 2e-9.
const fingerprintDigits = 12

// fingerprinted lists the files that make the fingerprint, in order.
func fingerprinted() []string { return []string{configFile, lateFile, earlyFile, vocabFile} }

// Fingerprint computes the identity of the bundle in dir from its files: the
// first 12 hex digits of the SHA-256 of config, late weights, early weights
// and vocabulary, one after the other. A missing file is errs.NotFound.
func Fingerprint(dir string) (string, error) {
	hash := sha256.New()
	for _, name := range fingerprinted() {
		if err := addFile(hash, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:fingerprintDigits], nil
}

func addFile(hash io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return openError(err)
	}
	defer file.Close()
	_, err = io.CopyBuffer(hash, file, make([]byte, 1<<20))
	return err
}
