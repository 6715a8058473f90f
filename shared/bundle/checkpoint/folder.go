package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// Bounds of the JSON and vocabulary files of a folder.
const (
	maxConfigBytes = 1 << 20
	maxVocabBytes  = 64 << 20
	maxShards      = 1000
)

// Names that a folder's weights may have, the safer format first.
const (
	safetensorsFile = "model.safetensors"
	torchFile       = "pytorch_model.bin"
	indexSuffix     = ".index.json"
)

// openWeights opens the weights of a Hugging Face folder: one file, or the
// shards that an index lists.
func openWeights(dir string) (*Checkpoint, error) {
	for _, name := range []string{safetensorsFile, torchFile} {
		if path := filepath.Join(dir, name); exists(path) {
			return Open(path)
		}
		if path := filepath.Join(dir, name+indexSuffix); exists(path) {
			return openShards(dir, name+indexSuffix)
		}
	}
	for _, name := range []string{"tf_model.h5", "flax_model.msgpack"} {
		if exists(filepath.Join(dir, name)) {
			return nil, errs.New(errs.Invalid, "%s: expected %s or %s, found only %s (convert it with transformers' save_pretrained)",
				dir, safetensorsFile, torchFile, name)
		}
	}
	return nil, errs.New(errs.NotFound, "%s: expected %s, %s or one of these with %s, found none", dir, safetensorsFile, torchFile, indexSuffix)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// openShards opens every file of an index and checks that each tensor lies
// where the index says. A file may only be one of the folder itself: the
// index may come from anywhere.
func openShards(dir, indexName string) (*Checkpoint, error) {
	files, err := readIndex(dir, indexName)
	if err != nil {
		return nil, err
	}
	whole := &Checkpoint{Path: dir}
	seen := map[string]string{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		shard, err := Open(filepath.Join(dir, file))
		if err == nil {
			whole.close = append(whole.close, shard.Close)
			err = whole.add(shard.Tensors, file, files[file], seen)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", indexName, err), whole.Close())
		}
	}
	return whole, nil
}

// readIndex returns the names of tensors by file.
func readIndex(dir, name string) (map[string][]string, error) {
	data, err := readSmall(filepath.Join(dir, name), maxVocabBytes)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, errs.New(errs.Corrupt, "%s: %w", name, err)
	}
	if len(index.WeightMap) == 0 {
		return nil, errs.New(errs.Corrupt, "%s: weight_map: expected tensors and their files, found none", name)
	}
	files := map[string][]string{}
	for _, tensor := range slices.Sorted(maps.Keys(index.WeightMap)) {
		file := index.WeightMap[tensor]
		if file == "" || file == ".." || file == "." || strings.ContainsAny(file, `/\`) {
			return nil, errs.New(errs.Invalid, "%s: weight_map: %s: expected the name of a file in the same folder, found %q", name, tensor, file)
		}
		files[file] = append(files[file], tensor)
	}
	if len(files) > maxShards {
		return nil, errs.New(errs.Invalid, "%s: weight_map: expected at most %d files, found %d", name, maxShards, len(files))
	}
	return files, nil
}

// add takes the tensors of one shard, which must hold those that are promised.
func (c *Checkpoint) add(tensors []bundle.NamedTensor, file string, promised []string, seen map[string]string) error {
	for _, t := range tensors {
		if first, twice := seen[t.Name]; twice {
			return errs.New(errs.Corrupt, "tensor %q is in %s and in %s", t.Name, first, file)
		}
		seen[t.Name] = file
	}
	for _, name := range promised {
		if seen[name] != file {
			return errs.New(errs.Corrupt, "%s: expected tensor %q in it, found none of that name", file, name)
		}
	}
	c.Tensors = append(c.Tensors, tensors...)
	return nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errs.New(errs.NotFound, "%s: expected this file, found none", path)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errs.New(errs.Invalid, "%s: expected a file, found %v", path, info.Mode().Type())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, errs.New(errs.Invalid, "%s: expected at most %d bytes, found more", path, limit)
	}
	return data, err
}
