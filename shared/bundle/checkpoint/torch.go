package checkpoint

import (
	"fmt"
	"strings"
)

// storage is a block of values that any number of tensors look into.
type storage struct {
	dtype string // as safetensors spells it
	width int64  // bytes a value
	key   string
	count int64  // values
	data  []byte // nil until the file tells where they are
}

// storageType reads the name of one of PyTorch's classes of storages.
func storageType(name string) (dtype string, width int64, ok bool) {
	switch strings.TrimSuffix(name, "Storage") {
	case "Float":
		return "F32", 4, true
	case "Half":
		return "F16", 2, true
	case "BFloat16":
		return "BF16", 2, true
	case "Double":
		return "F64", 8, true
	case "Long":
		return "I64", 8, true
	case "Int":
		return "I32", 4, true
	case "Short":
		return "I16", 2, true
	case "Char":
		return "I8", 1, true
	case "Byte":
		return "U8", 1, true
	case "Bool":
		return "BOOL", 1, true
	}
	return "", 0, false
}

// storages are those of one file, by key. Their number of values is believed
// only up to limit bytes, the size of the file.
type storages struct {
	byKey map[string]*storage
	limit int64
	find  func(s *storage) ([]byte, error) // nil where the data come later
}

// load answers a persistent id: ("storage", class, key, device, count, …).
func (x *storages) load(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || t[0] != "storage" {
		return nil, fmt.Errorf("persistent id: expected a storage, found %s", describe(id))
	}
	class, okClass := t[1].(global)
	key, okKey := t[2].(string)
	count, okCount := t[4].(int64)
	if !okClass || !okKey || !okCount {
		return nil, fmt.Errorf("storage: expected a class, a key and a number of values, found %s, %s, %s",
			describe(t[1]), describe(t[2]), describe(t[4]))
	}
	if len(t) > 5 && t[5] != nil {
		return nil, fmt.Errorf("storage %q is a part of another, as PyTorch before 0.4 wrote them; save the checkpoint again", key)
	}
	if s, ok := x.byKey[key]; ok {
		return s, nil
	}
	dtype, width, ok := storageType(class.name)
	if !ok {
		return opaque{class.module + "." + class.name}, nil
	}
	if count < 0 || count > x.limit/width {
		return nil, fmt.Errorf("storage %q: %d values of %s do not fit into a file of %d bytes", key, count, dtype, x.limit)
	}
	s := &storage{dtype: dtype, width: width, key: key, count: count}
	x.byKey[key] = s
	if x.find == nil {
		return s, nil
	}
	data, err := x.find(s)
	s.data = data
	return s, err
}

// reduce makes a value of a known function and its arguments.
func reduce(g global, args tuple) (any, error) {
	switch g.module + "." + g.name {
	case "collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict":
		return orderedDict(args)
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return rebuildTensor(args)
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) == 0 {
			return nil, fmt.Errorf("parameter: expected a tensor, found no arguments")
		}
		return args[0], nil
	}
	return opaque{g.module + "." + g.name}, nil
}

// orderedDict takes no argument, or (in checkpoints of Python 2) a list of pairs.
func orderedDict(args tuple) (any, error) {
	d := newDict()
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if !ok {
		return d, nil // a defaultdict's factory
	}
	for _, p := range pairs.items {
		var pair []any
		switch p := p.(type) {
		case tuple:
			pair = p
		case *list:
			pair = p.items
		}
		if len(pair) != 2 {
			return nil, fmt.Errorf("dict: expected pairs, found %s", describe(p))
		}
		d.set(pair[0], pair[1])
	}
	return d, nil
}
