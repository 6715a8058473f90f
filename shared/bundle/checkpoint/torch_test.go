package checkpoint

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/testkit"
)

func TestTorchSave(t *testing.T) {
	want := []bundle.NamedTensor{
		bundle.Float32Tensor("a.weight", []float32{1, 2, 3, 4, 5, 6}, 2, 3),
		bundle.Float32Tensor("a.scalar", []float32{7}),
		{Name: "a.count", DType: "I64", Shape: []int64{}, Data: []byte{9, 0, 0, 0, 0, 0, 0, 0}},
	}
	for _, form := range []testkit.TorchForm{{}, {Legacy: true}, {Under: "state_dict"}, {Under: "model", Legacy: true, Prefix: "module."}, {Prefix: "module._orig_mod."}} {
		path := filepath.Join(t.TempDir(), "x.pt")
		testkit.TorchSave(t, path, form, want)
		c, err := OpenStateDict(path)
		if err != nil {
			t.Fatalf("%+v: %v", form, err)
		}
		if len(c.Tensors) != len(want) {
			t.Fatalf("%+v: %d tensors", form, len(c.Tensors))
		}
		for i, x := range c.Tensors {
			if w := want[i]; x.Name != w.Name || x.DType != w.DType || string(x.Data) != string(w.Data) || len(x.Shape) != len(w.Shape) {
				t.Errorf("%+v: found %+v, want %+v", form, x, w)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Pickles that lie about lengths, that would run a program in Python, or that
// describe what is no tensor.
func TestBadPickles(t *testing.T) {
	const dict = "\x80\x02}X\x01\x00\x00\x00w"
	tensor := func(offset, shape, strides string) string {
		return dict + "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ" +
			offset + shape + strides + "\x89)tRs."
	}
	big := "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, math.MaxInt64))
	for name, c := range map[string]struct{ data, says string }{
		"empty":             {"", "expected 1 more bytes, found 0"},
		"text protocol":     {"(dp0\n.", "opcode 0x64 is none that torch.save writes"},
		"opcode ff":         {"\x80\x02\xff", "opcode 0xff"},
		"protocol 9":        {"\x80\x09.", "expected pickle protocol 2 to 5, found 9"},
		"huge bytes":        {"\x80\x04\x8e\x00\x00\x00\x00\x00\x10\x00\x00", "expected 17592186044416 more bytes, found 0"},
		"huge text":         {"\x80\x02X\xff\xff\xff\xff", "expected 4294967295 more bytes"},
		"endless name":      {"\x80\x02c" + strings.Repeat("x", 1000), "expected a name that ends within 512 bytes"},
		"no value":          {"\x80\x02.", "nothing on the stack"},
		"only a mark":       {"\x80\x02(.", "expected a value on the stack, found a mark"},
		"no mark":           {"\x80\x02}u.", "expected a mark"},
		"never remembered":  {"\x80\x02h\x07.", "nothing remembered as 7"},
		"a program":         {"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "expected a state dict, found an object of os.system"},
		"a network":         {"\x80\x02cmy\nNet\n)\x81}b.", "found an object of my.Net (save net.state_dict(), not the network)"},
		"a list":            {"\x80\x02].", "expected a state dict, found a list"},
		"no tensors":        {dict + "K\x01s.", "expected a state dict, found a dict of w"},
		"key without value": {"\x80\x02}(K\x01u.", "a key without a value"},
		"beyond":            {tensor("K\x02", "K\x03\x85", "K\x01\x85"), "offset 2, shape [3], strides [1] reach beyond the 4 values"},
		"below zero":        {tensor("K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85"), "expected none below 0"},
		"overflow":          {tensor("K\x00", big+big+"\x86", "K\x01K\x01\x86"), "is too large"},
		"repeated":          {tensor("K\x00", "K\x08\x85", "K\x00\x85"), "tensor of shape [8] repeats the 4 values"},
		"ragged":            {tensor("K\x00", "K\x02\x85", "K\x01K\x01\x86"), "expected an offset, a shape and strides"},
		"no storage":        {dict + "X\x01\x00\x00\x00xQs.", "persistent id: expected a storage, found a string"},
		"huge storage":      {dict + "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + big + "tQs.", "values of F32 do not fit into a file of 1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &storages{byKey: map[string]*storage{}, limit: 1000}
			root, _, err := unpickle([]byte(c.data), x.load, reduce)
			if err == nil {
				_, err = stateDict(root)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %s", err, c.says)
			}
		})
	}
}

func TestAProgramRunsNothing(t *testing.T) {
	made := filepath.Join(t.TempDir(), "made")
	command := "touch " + made
	data := "\x80\x02}X\x01\x00\x00\x00wcos\nsystem\nX" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(command)))) + command + "\x85Rs."
	path := filepath.Join(t.TempDir(), "x.bin")
	write(t, path, data)
	if _, err := Open(path); errs.KindOf(err) != errs.Corrupt {
		t.Errorf("error %v, want Corrupt", err)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the command was run")
	}
}

// No file makes a reader panic or hand out more bytes than it has.
func FuzzOpen(f *testing.F) {
	for _, path := range []string{"bin/pytorch_model.bin", "bin_wrapped/pytorch_model.bin", "bin_wrapped_legacy/pytorch_model.bin", "bf16/model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(tiny, path))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	small := []bundle.NamedTensor{bundle.Float32Tensor("a", []float32{1, 2, 3, 4}, 2, 2)}
	for _, form := range []testkit.TorchForm{{}, {Legacy: true}} {
		path := filepath.Join(f.TempDir(), "x")
		testkit.TorchSave(f, path, form, small)
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "x")
		write(t, path, string(data))
		c, err := OpenStateDict(path)
		if err != nil {
			if kind := errs.KindOf(err); kind != errs.Corrupt && kind != errs.Invalid {
				t.Fatalf("a %v error: %v", kind, err)
			}
			return
		}
		defer c.Close()
		for _, x := range c.Tensors {
			if len(x.Data) > 2*len(data) {
				t.Fatalf("tensor %q has %d bytes, the file %d", x.Name, len(x.Data), len(data))
			}
			if _, err := Float32(x); err != nil && errs.KindOf(err) == errs.Internal {
				t.Fatal(err)
			}
		}
	})
}
