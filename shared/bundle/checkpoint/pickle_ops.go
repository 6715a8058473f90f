package checkpoint

import "fmt"

// Opcodes, by the names of Python's pickletools.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opBinFloat       = 'G'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opBinInt2        = 'M'
	opNone           = 'N'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opBinString      = 'T'
	opShortBinString = 'U'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opAppends        = 'e'
	opBinGet         = 'h'
	opLongBinGet     = 'j'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opSetItems       = 'u'
	opEmptyDict      = '}'
	opEmptyList      = ']'
	opEmptyTuple     = ')'
	opBinBytes       = 'B'
	opShortBinBytes  = 'C'
	opProto          = 0x80
	opNewObj         = 0x81
	opTuple1         = 0x85
	opTuple2         = 0x86
	opTuple3         = 0x87
	opNewTrue        = 0x88
	opNewFalse       = 0x89
	opLong1          = 0x8a
	opLong4          = 0x8b
	opShortUnicode   = 0x8c
	opBinUnicode8    = 0x8d
	opBinBytes8      = 0x8e
	opEmptySet       = 0x8f
	opAddItems       = 0x90
	opNewObjEx       = 0x92
	opStackGlobal    = 0x93
	opMemoize        = 0x94
	opFrame          = 0x95
)

// do runs one opcode.
func (u *unpickler) do(op byte) error {
	switch op {
	case opProto:
		return u.proto()
	case opFrame: // its length; what follows reads the same without
		_, err := u.take(8)
		return err
	case opMark:
		u.push(mark{})
	case opPop:
		if n := len(u.stack); n > 0 { // also a mark
			u.stack = u.stack[:n-1]
		}
	case opPopMark:
		_, err := u.popMark()
		return err
	case opDup:
		v, err := u.top()
		if err != nil {
			return err
		}
		u.push(v)
	case opBinPersID, opReduce, opNewObj, opNewObjEx, opBuild, opGlobal, opStackGlobal:
		return u.doObject(op)
	case opBinGet, opLongBinGet, opBinPut, opLongBinPut, opMemoize:
		return u.doMemo(op)
	case opAppend, opAppends, opSetItem, opSetItems, opAddItems, opEmptyDict, opEmptyList, opEmptySet, opEmptyTuple,
		opTuple, opTuple1, opTuple2, opTuple3:
		return u.doContainer(op)
	default:
		return u.doScalar(op)
	}
	return nil
}

func (u *unpickler) proto() error {
	v, err := u.byte()
	if err == nil && (v < 2 || v > 5) {
		return fmt.Errorf("expected pickle protocol 2 to 5, found %d", v)
	}
	return err
}

func (u *unpickler) doScalar(op byte) error {
	switch op {
	case opNone:
		u.push(nil)
	case opNewTrue:
		u.push(true)
	case opNewFalse:
		u.push(false)
	case opBinFloat:
		return u.float()
	case opLong1:
		return u.integer(1)
	case opLong4:
		return u.integer(4)
	case opBinInt, opBinInt1, opBinInt2:
		width := map[byte]uint64{opBinInt: 4, opBinInt1: 1, opBinInt2: 2}[op]
		v, err := u.uint(width)
		if err != nil {
			return err
		}
		if op == opBinInt {
			v = uint64(int64(int32(v)))
		}
		u.push(int64(v))
	case opShortUnicode, opShortBinString:
		return u.text(1)
	case opBinUnicode, opBinString:
		return u.text(4)
	case opBinUnicode8:
		return u.text(8)
	case opShortBinBytes:
		return u.bytes(1)
	case opBinBytes:
		return u.bytes(4)
	case opBinBytes8:
		return u.bytes(8)
	default:
		return fmt.Errorf("opcode 0x%02x is none that torch.save writes", op)
	}
	return nil
}

func (u *unpickler) text(width uint64) error {
	b, err := u.sized(width)
	if err == nil {
		u.push(string(b))
	}
	return err
}

func (u *unpickler) bytes(width uint64) error {
	b, err := u.sized(width)
	if err == nil {
		u.push(b)
	}
	return err
}

func (u *unpickler) doMemo(op byte) error {
	if op == opMemoize {
		return u.remember(len(u.memo))
	}
	width := uint64(1)
	if op == opLongBinGet || op == opLongBinPut {
		width = 4
	}
	key, err := u.uint(width)
	switch {
	case err != nil:
		return err
	case op == opBinGet || op == opLongBinGet:
		return u.recall(int(key))
	}
	return u.remember(int(key))
}

func (u *unpickler) doContainer(op byte) error {
	switch op {
	case opEmptyDict:
		u.push(newDict())
		return nil
	case opEmptyList:
		u.push(&list{})
		return nil
	case opEmptySet:
		u.push(&list{})
		return nil
	case opEmptyTuple:
		u.push(tuple{})
		return nil
	case opTuple1, opTuple2, opTuple3:
		t, err := u.popN(int(op-opTuple1) + 1)
		if err == nil {
			u.push(t)
		}
		return err
	case opAppend, opSetItem:
		items, err := u.popN(map[byte]int{opAppend: 1, opSetItem: 2}[op])
		if err != nil {
			return err
		}
		return u.fill(items)
	}
	items, err := u.popMark()
	if err != nil {
		return err
	}
	if op == opTuple {
		u.push(items)
		return nil
	}
	return u.fill(items)
}

// fill puts items into the container on top of the stack.
func (u *unpickler) fill(items tuple) error {
	into, err := u.top()
	if err != nil {
		return err
	}
	switch into := into.(type) {
	case *list:
		into.items = append(into.items, items...)
	case *dict:
		if len(items)%2 != 0 {
			return fmt.Errorf("a key without a value")
		}
		for i := 0; i < len(items); i += 2 {
			into.set(items[i], items[i+1])
		}
	case opaque: // a class derived from list or dict
	default:
		return fmt.Errorf("items for %s, which holds none", describe(into))
	}
	return nil
}

func (u *unpickler) doObject(op byte) error {
	switch op {
	case opGlobal, opStackGlobal:
		return u.global(op)
	case opBuild: // the state of an object; what we keep has none
		if _, err := u.pop(); err != nil {
			return err
		}
		_, err := u.top()
		return err
	case opBinPersID:
		id, err := u.pop()
		if err != nil {
			return err
		}
		v, err := u.persistent(id)
		if err == nil {
			u.push(v)
		}
		return err
	case opNewObjEx: // class, arguments, named arguments
		if _, err := u.pop(); err != nil {
			return err
		}
	}
	return u.call()
}

func (u *unpickler) global(op byte) error {
	if op == opGlobal {
		module, err := u.line()
		if err != nil {
			return err
		}
		name, err := u.line()
		if err != nil {
			return err
		}
		u.push(global{module, name})
		return nil
	}
	names, err := u.popN(2)
	if err != nil {
		return err
	}
	module, ok := names[0].(string)
	name, also := names[1].(string)
	if !ok || !also {
		return fmt.Errorf("expected the name of a class, found %s and %s", describe(names[0]), describe(names[1]))
	}
	u.push(global{module, name})
	return nil
}

// call replaces a class and its arguments by what reduce makes of them.
func (u *unpickler) call() error {
	pair, err := u.popN(2)
	if err != nil {
		return err
	}
	args, ok := pair[1].(tuple)
	if !ok {
		return fmt.Errorf("expected a tuple of arguments, found %s", describe(pair[1]))
	}
	g, ok := pair[0].(global)
	if !ok { // a method of an object that means nothing here
		u.push(opaque{describe(pair[0])})
		return nil
	}
	v, err := u.reduce(g, args)
	if err != nil {
		return err
	}
	u.push(v)
	return nil
}

// describe says in a word what a value is.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64, long:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "a string"
	case []byte:
		return "bytes"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case *storage:
		return "a storage"
	case *view:
		return "a tensor"
	case global:
		return v.module + "." + v.name
	case opaque:
		return "an object of " + v.class
	}
	return fmt.Sprintf("%T", v)
}
