package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"videosim/shared/errs"
)

// Contents is what goes into a new bundle. Of Manifest, Write fills in the
// format version, the fingerprint and, where it is zero, the time.
type Contents struct {
	Config      json.RawMessage
	Vocab       []byte
	Late, Early []NamedTensor
	Manifest    Manifest
}

// Write makes the bundle dir and returns its fingerprint. Everything is
// written to a temporary folder beside dir and synced to the disk before dir
// changes, so dir holds the old bundle or the new one, never a mixture, also
// after a power loss. A folder that exists and is neither a bundle nor empty
// is refused (errs.Invalid).
func Write(dir string, c Contents) (fingerprint string, err error) {
	dir = filepath.Clean(dir)
	if err := replaceable(dir); err != nil {
		return "", err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp) // once dir is in place, this is the old bundle or nothing
	fingerprint, err = fill(temp, c)
	if err != nil {
		return "", fmt.Errorf("write bundle %s: %w", dir, err)
	}
	if err := moveInto(temp, dir); err != nil {
		return "", fmt.Errorf("write bundle %s: %w", dir, err)
	}
	return fingerprint, syncDir(parent)
}

// replaceable protects a folder that holds something else.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return errs.New(errs.Invalid, "%s cannot become a bundle: %w", dir, err)
	case len(entries) == 0:
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, manifestFile)); err != nil {
		return errs.New(errs.Invalid, "%s exists and is no bundle; name another folder or remove it", dir)
	}
	return nil
}

// fill writes and syncs all files of c into the empty folder temp.
func fill(temp string, c Contents) (fingerprint string, err error) {
	if !json.Valid(c.Config) {
		return "", errs.New(errs.Invalid, "%s: expected JSON, found %.40q", configFile, c.Config)
	}
	if len(c.Vocab) == 0 {
		return "", errs.New(errs.Invalid, "%s: the vocabulary is empty", vocabFile)
	}
	if err := os.Chmod(temp, 0o755); err != nil { // MkdirTemp keeps it private
		return "", err
	}
	if err := writeFile(filepath.Join(temp, configFile), copyOf(c.Config)); err != nil {
		return "", err
	}
	if err := WriteSafetensors(filepath.Join(temp, lateFile), c.Late); err != nil {
		return "", err
	}
	if err := WriteSafetensors(filepath.Join(temp, earlyFile), c.Early); err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(temp, vocabFile), copyOf(c.Vocab)); err != nil {
		return "", err
	}
	fingerprint, err = Fingerprint(temp)
	if err != nil {
		return "", err
	}
	return fingerprint, writeManifest(temp, c.Manifest, fingerprint)
}

func writeManifest(temp string, m Manifest, fingerprint string) error {
	m.FormatVersion, m.Fingerprint = FormatVersion, fingerprint
	if m.CreatedAt.IsZero() {
		m.CreatedAt = time.Now().UTC().Truncate(time.Second)
	}
	if err := m.validate(); err != nil {
		return errs.New(errs.Invalid, "%s: %w", manifestFile, err)
	}
	data, err := m.encode()
	if err != nil {
		return fmt.Errorf("%s: %w", manifestFile, err)
	}
	if err := writeFile(filepath.Join(temp, manifestFile), copyOf(data)); err != nil {
		return err
	}
	return syncDir(temp)
}

func copyOf(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	}
}

// moveInto puts temp in dir's place in one step. Where dir exists the two are
// exchanged, and temp is the old bundle afterwards.
func moveInto(temp, dir string) error {
	err := os.Rename(temp, dir)       // dir is new, or an empty folder
	if !errors.Is(err, fs.ErrExist) { // which is also what a folder that is not empty gives
		return err
	}
	return exchange(temp, dir)
}

// exchangeByRename is for systems without an atomic exchange. For an instant
// dir does not exist; a crash then leaves the old bundle beside it, complete.
func exchangeByRename(temp, dir string) error {
	old := temp + ".old"
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return os.RemoveAll(old)
}
