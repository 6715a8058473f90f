package testkit

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"videosim/shared/bundle"
)

// TorchForm is how TorchSave lays a file out.
type TorchForm struct {
	Legacy bool   // without zip, as before PyTorch 1.6
	Under  string // key of a dict around the state dict, "" for none
	Prefix string // before every name
}

// TorchSave writes a state dict as torch.save does.
func TorchSave(t testing.TB, path string, form TorchForm, tensors []bundle.NamedTensor) {
	t.Helper()
	p := &pickler{legacy: form.Legacy}
	p.raw("\x80\x02")
	if form.Under != "" {
		p.raw("}")
		p.text(form.Under)
	}
	p.raw("ccollections\nOrderedDict\n)R(")
	for i, x := range tensors {
		p.text(form.Prefix + x.Name)
		p.tensor(t, i, x)
	}
	p.raw("u")
	if form.Under != "" {
		p.raw("s")
	}
	p.raw(".")
	write := zipped
	if form.Legacy {
		write = legacy
	}
	data, err := write(p.Bytes(), tensors)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pickler writes the few opcodes of protocol 2 that a state dict needs.
type pickler struct {
	bytes.Buffer
	legacy bool
}

func (p *pickler) raw(s string) { p.WriteString(s) }

func (p *pickler) text(s string) {
	p.WriteByte('X')
	binary.Write(p, binary.LittleEndian, uint32(len(s)))
	p.WriteString(s)
}

func (p *pickler) number(n int64) {
	p.WriteByte('J')
	binary.Write(p, binary.LittleEndian, int32(n))
}

func (p *pickler) numbers(all []int64) {
	p.raw("(")
	for _, n := range all {
		p.number(n)
	}
	p.raw("t")
}

// tensor writes _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict()).
func (p *pickler) tensor(t testing.TB, key int, x bundle.NamedTensor) {
	class, ok := map[string]string{"F32": "Float", "F16": "Half", "BF16": "BFloat16", "F64": "Double", "I64": "Long"}[x.DType]
	if !ok {
		t.Fatalf("tensor %q: no storage for %s", x.Name, x.DType)
	}
	strides := make([]int64, len(x.Shape))
	count := int64(1)
	for i := len(strides) - 1; i >= 0; i-- {
		strides[i] = count
		count *= x.Shape[i]
	}
	p.raw("ctorch._utils\n_rebuild_tensor_v2\n((")
	p.text("storage")
	p.raw("ctorch\n" + class + "Storage\n")
	p.text(fmt.Sprint(key))
	p.text("cpu")
	p.number(count)
	if p.legacy {
		p.raw("N")
	}
	p.raw("tQ")
	p.number(0)
	p.numbers(x.Shape)
	p.numbers(strides)
	p.raw("\x89ccollections\nOrderedDict\n)RtR")
}

func zipped(pickled []byte, tensors []bundle.NamedTensor) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(name string, data []byte) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	if err := add("data.pkl", pickled); err != nil {
		return nil, err
	}
	if err := add("byteorder", []byte("little")); err != nil {
		return nil, err
	}
	for i, x := range tensors {
		if err := add(fmt.Sprint("data/", i), x.Data); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}

func legacy(pickled []byte, tensors []bundle.NamedTensor) ([]byte, error) {
	p := &pickler{}
	p.raw("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.") // the magic number
	p.raw("\x80\x02M\xe9\x03.")                         // version 1001
	p.raw("\x80\x02}")
	p.text("little_endian")
	p.raw("\x88s.")
	p.Write(pickled)
	p.raw("\x80\x02](")
	for i := range tensors {
		p.text(fmt.Sprint(i))
	}
	p.raw("e.")
	for _, x := range tensors {
		count := uint64(1)
		for _, n := range x.Shape {
			count *= uint64(n)
		}
		binary.Write(p, binary.LittleEndian, count)
		p.Write(x.Data)
	}
	return p.Bytes(), nil
}
