"""Writes tiny/: one small BERT as Hugging Face's and PyTorch's own writers
save it in all their forms, for TestForms.

    pip install torch transformers safetensors
    python3 checkpoints.py
"""
import collections
import json
import pathlib
import shutil

import torch
import transformers

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *("##" + c for c in "abcdefghijklmnop"), "中", "国"]


def main():
    root = pathlib.Path(__file__).with_name("tiny")
    shutil.rmtree(root, ignore_errors=True)
    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=len(VOCAB) + 3, hidden_size=9, num_hidden_layers=2, num_attention_heads=3, intermediate_size=14,
        max_position_embeddings=40, type_vocab_size=2)
    masked = transformers.BertForMaskedLM(config).eval()
    for p in masked.parameters():
        p.data.normal_(0, 0.3)
    bare = masked.bert

    def folder(name):
        where = root / name
        where.mkdir(parents=True)
        (where / "config.json").write_text(json.dumps({k: v for k, v in config.to_dict().items() if v is not None}, indent=1, sort_keys=True))
        (where / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
        return where

    def saved(name, network, **how):
        where = folder(name)
        vocab = (where / "vocab.txt").read_bytes()
        network.save_pretrained(where, **how)
        (where / "generation_config.json").unlink(missing_ok=True)
        (where / "vocab.txt").write_bytes(vocab)

    pooled = transformers.BertModel(config)
    pooled.load_state_dict(bare.state_dict(), strict=False)
    state = collections.OrderedDict((k, v.clone()) for k, v in pooled.state_dict().items())
    saved("safetensors", pooled)
    saved("no_pooler", bare)
    saved("prefix_and_head", masked)
    saved("sharded", pooled, max_shard_size="8KB")
    saved("fp16", pooled.to(torch.float16))
    saved("bf16", pooled.to(torch.bfloat16))
    torch.save(state, folder("bin") / "pytorch_model.bin")
    torch.save(state, folder("bin_legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    torch.save(state, folder("bin_protocol4") / "pytorch_model.bin", pickle_protocol=4)

    # The first release's names; a head that shares the word table's storage;
    # tensors that lie in their storage in column order, or amid others;
    # tables of constants; and beside it all what a training script keeps.
    shared = torch.zeros(300)
    old = collections.OrderedDict()
    for name, t in state.items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        if t.dim() == 2 and "query" in name:
            t = t.T.contiguous().T
        if name.endswith("key.bias"):
            at = 100 + 9 * int(name.split(".")[2])
            shared[at : at + 9] = t
            t = shared[at : at + 9]
        old["module.bert." + name] = t
    old["module.bert.embeddings.position_ids"] = torch.arange(40).expand(1, -1)
    old["module.cls.predictions.decoder.weight"] = old["module.bert.embeddings.word_embeddings.weight"]
    old["module.cls.predictions.bias"] = torch.nn.Parameter(torch.zeros(len(VOCAB) + 3))
    wrapped = {"epoch": 3, "lr": 1e-3, "args": transformers.TrainingArguments, "big": 2**70, "state_dict": old}
    torch.save(wrapped, folder("bin_wrapped") / "pytorch_model.bin")
    torch.save(wrapped, folder("bin_wrapped_legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)

    # Only tokenizer.json, cased.
    where = folder("tokenizer_json")
    shutil.copy(root / "safetensors" / "model.safetensors", where)
    (where / "vocab.txt").unlink()
    made = transformers.BertTokenizer(vocab={t: i for i, t in enumerate(VOCAB)}, do_lower_case=False)
    made.backend_tokenizer.save(str(where / "tokenizer.json"))


main()
