"""Writes settings.json: token ids by Hugging Face's tokenizer under every
combination of lower-casing, accents and CJK splitting, for TestSettings.

    pip install tokenizers && python3 settings.py

The vocabulary holds every character of the texts, as it is and in every
normalised form, so no difference hides behind [UNK]; its special tokens stand
in unusual places.
"""
import itertools
import json
import pathlib
import unicodedata

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

TEXTS = [
    "", "Hello WORLD", "Café CAFÉ cafe\u0301", "ÀÉÎÕÜ ñ Ç ß ẞ", "İstanbul ıI", "ΑΣ ΣΑΣ", "Ǆ ǅ ﬁ", "한글 가",
    "中国ABC中", "豈更 \uf900", "ガギグ か\u3099", "a\u0300\u0301B\u0302", "Ａｂｃ", "x[MASK]Y", "[mask] [SEP]", "tab\tand\u00a0blank",
    "Ångström", "Ωμέγα", "ПРИВЕТ Ёж й", "עִבְרִית", "नमस्ते", "emoji 😀👍🏽", "don't stop!", "≠ \u2126", "\u1e9b\u0323", "ⅣⅧ Ⓐ",
]


def forms(text):
    for t in (text, text.lower()):
        yield from (t, unicodedata.normalize("NFD", t), unicodedata.normalize("NFD", t).lower())


characters = sorted({c for t in TEXTS for f in forms(t) for c in f if not c.isspace()})
vocab = ["first", "[SEP]", *characters, "[UNK]", *("##" + c for c in characters), "[PAD]", "[CLS]", "[MASK]"]
ids = {token: i for i, token in enumerate(vocab)}

cases = []
for cased, accents, whole in itertools.product((False, True), ("", "strip", "keep"), (False, True)):
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=not whole,
        strip_accents={"": None, "strip": True, "keep": False}[accents], lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")])
    cases.append({"cased": cased, "accents": accents, "whole_cjk": whole, "ids": [tokenizer.encode(t).ids for t in TEXTS]})

out = pathlib.Path(__file__).with_name("settings.json")
out.write_text(json.dumps({"vocab": vocab, "texts": TEXTS, "cases": cases}, ensure_ascii=True, separators=(",", ":")) + "\n")
