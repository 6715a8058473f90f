package checkpoint

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// Every way in which a folder can be wrong, and what the message says.
func TestBrokenFolders(t *testing.T) {
	config := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "config.json"), old, new) }
	}
	tensors := func(change func(x map[string]bundle.NamedTensor)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { rewrite(t, dir, change) }
	}
	file := func(name, data string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { write(t, filepath.Join(dir, name), data) }
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	bytesOf := func(name string, change func(b []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), string(change(data)))
		}
	}
	const query = "encoder.layer.1.attention.self.query.weight"
	for name, c := range map[string]struct {
		form  string
		spoil func(t *testing.T, dir string)
		kind  errs.Kind
		says  []string
	}{
		"no config":       {"safetensors", remove("config.json"), errs.NotFound, []string{"config.json: expected this file, found none"}},
		"config no json":  {"safetensors", file("config.json", "{"), errs.Invalid, []string{"config.json: unexpected end of JSON input"}},
		"another model":   {"safetensors", config(`"bert"`, `"roberta"`), errs.Invalid, []string{`config.json: model_type: expected "bert", found "roberta"`}},
		"another gelu":    {"safetensors", config(`"gelu"`, `"gelu_new"`), errs.Invalid, []string{`config.json: hidden_act: expected "gelu", found "gelu_new"`}},
		"relative":        {"safetensors", config(`{`, `{"position_embedding_type": "relative_key",`), errs.Invalid, []string{`config.json: position_embedding_type: expected "absolute", found "relative_key"`}},
		"decoder":         {"safetensors", config(`"is_decoder": false`, `"is_decoder": true`), errs.Invalid, []string{"config.json: is_decoder: expected false (an encoder), found true"}},
		"no hidden size":  {"safetensors", config(`"hidden_size"`, `"size"`), errs.Invalid, []string{"config.json: hidden_size: expected a whole number, found none"}},
		"huge layers":     {"safetensors", config(`"num_hidden_layers": 2`, `"num_hidden_layers": 100000`), errs.Invalid, []string{"config.json: num_hidden_layers: expected 1 to 256, found 100000"}},
		"heads":           {"safetensors", config(`"num_attention_heads": 3`, `"num_attention_heads": 4`), errs.Invalid, []string{"config.json: num_attention_heads: expected a divisor of hidden_size 9, found 4"}},
		"epsilon":         {"safetensors", config(`1e-12`, `-1`), errs.Invalid, []string{"config.json: layer_norm_eps: expected a number above 0 and below 1, found -1"}},
		"no vocabulary":   {"safetensors", remove("vocab.txt"), errs.NotFound, []string{"expected vocab.txt or tokenizer.json, found neither"}},
		"long vocabulary": {"safetensors", file("vocab.txt", strings.Repeat("x\n", 53)), errs.Invalid, []string{"vocab.txt: expected at most vocab_size 52 tokens, found 53"}},
		"other tokenizer": {"safetensors", file("tokenizer_config.json", `{"tokenizer_class": "BertJapaneseTokenizer"}`), errs.Invalid, []string{`tokenizer_config.json: tokenizer_class: expected "BertTokenizer", found "BertJapaneseTokenizer"`}},
		"other specials":  {"safetensors", file("special_tokens_map.json", `{"cls_token": {"content": "<s>"}}`), errs.Invalid, []string{`special_tokens_map.json: cls_token: expected "[CLS]", found "<s>"`}},
		"not wordpiece":   {"tokenizer_json", file("tokenizer.json", `{"model": {"type": "BPE", "vocab": {}}}`), errs.Invalid, []string{`tokenizer.json: model.type: expected WordPiece, found "BPE"`}},
		"ids with a hole": {"tokenizer_json", file("tokenizer.json", `{"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 2}}, "normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"}}`), errs.Invalid, []string{`expected the ids 0 to 1 once each, found "b" with 2`}},
		"other splitting": {"tokenizer_json", file("tokenizer.json", `{"model": {"type": "WordPiece", "vocab": {"a": 0}}, "normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "Whitespace"}}`), errs.Invalid, []string{"pre_tokenizer: expected BertPreTokenizer, found Whitespace"}},
		"no weights":      {"safetensors", remove("model.safetensors"), errs.NotFound, []string{"expected model.safetensors, pytorch_model.bin or one of these with .index.json, found none"}},
		"only tensorflow": {"safetensors", func(t *testing.T, dir string) { remove("model.safetensors")(t, dir); file("tf_model.h5", "x")(t, dir) }, errs.Invalid, []string{"found only tf_model.h5"}},
		"git lfs":         {"safetensors", file("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), errs.Invalid, []string{"found the pointer that Git LFS leaves"}},
		"cut off":         {"safetensors", bytesOf("model.safetensors", func(b []byte) []byte { return b[:len(b)-100] }), errs.Corrupt, []string{"model.safetensors: tensor ", "end within"}},
		"missing tensor":  {"safetensors", tensors(func(x map[string]bundle.NamedTensor) { delete(x, query) }), errs.Corrupt, []string{"expected 39 tensors, found 38", "1 missing: " + query + " [9 9]"}},
		"renamed tensor": {"safetensors", tensors(func(x map[string]bundle.NamedTensor) {
			x[strings.Replace(query, "query", "qurey", 1)] = x[query]
			delete(x, query)
		}), errs.Corrupt, []string{"1 missing: " + query + " [9 9] (nearest found: encoder.layer.1.attention.self.qurey.weight [9 9])", "\n1 not expected: encoder.layer.1.attention.self.qurey.weight [9 9]"}},
		"other shape":   {"safetensors", config(`"intermediate_size": 14`, `"intermediate_size": 7`), errs.Corrupt, []string{"6 of another shape: encoder.layer.0.intermediate.dense.weight: expected [7 9], found [14 9]"}},
		"fewer layers":  {"safetensors", config(`"num_hidden_layers": 2`, `"num_hidden_layers": 1`), errs.Corrupt, []string{"expected 23 tensors, found 39", "16 not expected: encoder.layer.1.", "… and 8 more"}},
		"more layers":   {"safetensors", config(`"num_hidden_layers": 2`, `"num_hidden_layers": 3`), errs.Corrupt, []string{"16 missing: encoder.layer.2.attention.self.query.weight [9 9] (nearest found: encoder.layer.0.attention.self.query.weight [9 9])"}},
		"half a pooler": {"safetensors", tensors(func(x map[string]bundle.NamedTensor) { delete(x, "pooler.dense.bias") }), errs.Corrupt, []string{"1 missing: pooler.dense.bias [9]"}},
		"no bert":       {"safetensors", tensors(func(x map[string]bundle.NamedTensor) { delete(x, wordTable) }), errs.Corrupt, []string{"expected a BERT, with a tensor …embeddings.word_embeddings.weight, found 38 tensors: "}},
		"two berts":     {"safetensors", tensors(func(x map[string]bundle.NamedTensor) { x["other."+wordTable] = x[wordTable] }), errs.Invalid, []string{`expected one BERT, found 2: "embeddings", "other.embeddings"`}},
		"both names": {"safetensors", tensors(func(x map[string]bundle.NamedTensor) {
			x["embeddings.LayerNorm.gamma"] = x["embeddings.LayerNorm.weight"]
		}), errs.Corrupt, []string{`tensor "embeddings.LayerNorm.weight" is there twice, once under its old name`}},
		"whole numbers": {"safetensors", tensors(func(x map[string]bundle.NamedTensor) { q := x[query]; q.DType = "I32"; x[query] = q }), errs.Invalid, []string{`tensor "` + query + `": dtype: expected F32, F16, BF16 or F64, found I32`}},
		"no number": {"safetensors", tensors(func(x map[string]bundle.NamedTensor) {
			x["embeddings.LayerNorm.bias"] = bundle.Float32Tensor("", []float32{0, 1, float32(math.NaN()), 0, 0, 0, 0, 0, 0}, 9)
		}), errs.Corrupt, []string{`tensor "embeddings.LayerNorm.bias": value 2: expected a finite number, found NaN`}},
		"shard missing":   {"sharded", remove("model-00002-of-00002.safetensors"), errs.NotFound, []string{"model.safetensors.index.json: ", "model-00002-of-00002.safetensors: no such file"}},
		"index leads out": {"sharded", bytesOf("model.safetensors.index.json", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("model-00001"), []byte("../model-00001")) }), errs.Invalid, []string{"weight_map: ", `expected the name of a file in the same folder, found "../model-00001-of-00002.safetensors"`}},
		"index lies":      {"sharded", bytesOf("model.safetensors.index.json", func(b []byte) []byte { return bytes.Replace(b, []byte("00001-of"), []byte("00002-of"), 1) }), errs.Corrupt, []string{`expected tensor "`, "in it, found none of that name"}},
		"index empty":     {"sharded", file("model.safetensors.index.json", `{"weight_map": {}}`), errs.Corrupt, []string{"weight_map: expected tensors and their files, found none"}},
		"zip cut off":     {"bin", bytesOf("pytorch_model.bin", func(b []byte) []byte { return b[:len(b)/2] }), errs.Corrupt, []string{"pytorch_model.bin: zip: ", "(is the file cut off?)"}},
		"legacy cut off":  {"bin_legacy", bytesOf("pytorch_model.bin", func(b []byte) []byte { return b[:len(b)-8] }), errs.Corrupt, []string{"storage ", "the file is cut off"}},
		"bytes":           {"bin", file("pytorch_model.bin", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"), errs.Invalid, []string{`expected safetensors or a file of torch.save, found bytes "\x00\x01`}},
		"a folder instead": {"bin", func(t *testing.T, dir string) {
			remove("pytorch_model.bin")(t, dir)
			os.Mkdir(filepath.Join(dir, "pytorch_model.bin"), 0o755)
		}, errs.Invalid, []string{"expected a file of weights, found a folder"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyFolder(t, c.form)
			c.spoil(t, dir)
			e, err := OpenEncoder(dir)
			if err == nil {
				e.Close()
				t.Fatal("it was read")
			}
			if errs.KindOf(err) != c.kind {
				t.Errorf("a %v error, want %v: %v", errs.KindOf(err), c.kind, err)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("message\n%v\nlacks\n%s", err, part)
				}
			}
			if lines := strings.Count(err.Error(), "\n"); lines > 30 {
				t.Errorf("a message of %d lines", lines)
			}
		})
	}
}
