// Package checkpoint reads the weights that other programs wrote: Hugging
// Face's folders and PyTorch's state dicts.
//
//	encoder.go     OpenEncoder: a folder with a BERT, its vocabulary and settings
//	bert.go        config.json, and the tensors that follow from it
//	tokenizer.go   vocab.txt, tokenizer.json and the files of settings
//	folder.go      model.safetensors or pytorch_model.bin, whole or in shards
//	statefile.go   OpenStateDict: the state dict of a whole network
//	open.go        Open: one file, whose content says what it is
//	zip.go, legacy.go, torch.go, view.go, statedict.go   what torch.save writes
//	pickle.go, pickle_ops.go   the part of Python's pickle format in it
//	compare.go     Compare: what is missing, misshapen, not expected, and the
//	               nearest name to each that is missing
//
// What it promises, of any file whatever:
//
//   - Nothing in it is run. A pickle's classes and functions stay names, but
//     for the few that make dicts and tensors.
//   - What is allocated stays within a small multiple of the length of the
//     file: every length is compared with the bytes that are there first.
//   - No file outside the folder is opened because another file says so.
//   - An error names the file and the key, the tensor or the byte, with what
//     was expected and what was found.
//
// The unpickler is our own because github.com/nlpodyssey/gopickle does not
// keep the second promise: a length of 2^44 in a file of 12 bytes ends the
// process, opcode 0xff and views of storages panic.
//
//	e, err := checkpoint.OpenEncoder("bert-base-chinese")
//	defer e.Close()
//	for _, t := range e.Tensors { … t.Name, t.Shape, t.Data … }
package checkpoint
