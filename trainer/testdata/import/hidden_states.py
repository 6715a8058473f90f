"""Writes hidden_states.json and hidden_states.safetensors: what the library
transformers makes of 200 texts with a real checkpoint, for TestImportMiniLM.

    pip install torch transformers safetensors numpy
    python3 hidden_states.py FOLDER

FOLDER holds the checkpoint all-MiniLM-L6-v2 (deploy/setup.sh puts it into
.deps/minilm). Of the last hidden states, three rows a text are kept: position
0, the last position, and the mean of all. A long text is cut to 64 tokens
the way the suite does: at the end, [SEP] and all.
"""
import json
import pathlib
import random
import sys

import numpy
import safetensors.numpy
import torch
import transformers

TOKENS = 64
BY_HAND = [
    "", " ", "\t\r\n", "a", "A", "Ab", "the quick brown fox jumps over the lazy dog",
    "The Quick Brown Fox Jumps Over The Lazy Dog!", "HOW TO COOK BRAISED PORK BELLY", "don't stop me now", "it's 5 o'clock somewhere",
    "3.14159", "1,000,000 views", "iPhone 13 Pro Max vs. Galaxy S21 Ultra", "C++ in 100 seconds", "https://example.org/watch?v=abc&t=10s",
    "user@example.org", "#shorts #fyp", "@someone hello", "50% off!!!", "$9.99", "€20", "¥100", "£5 & more", "a+b=c", "x^2 < y^2 | z~",
    "\"quoted\" 'single' `back`", "(round) [square] {curly} <angle>", "slash/back\\slash", "under_score-and-dash", "…ellipsis… – en — em",
    "‘curly’ “quotes”", "¿qué? ¡sí!", "Café Crème brûlée", "Ångström naïve façade", "Über Straße", "ÀÉÎÕÜ àéîõü", "e\u0301 decomposed n\u0303",
    "İstanbul ıI", "Ελληνικά ΣΑΣ", "Привет мир Ёлка", "עברית", "العربية", "नमस्ते दुनिया", "ภาษาไทย", "한국어 영상", "日本語のビデオ カタカナ",
    "中文标题", "红烧肉的做法", "三分钟学会做红烧肉", "手机评测:iPhone 13", "今天吃什么?吃火锅!", "《绝代佳人》第三集", "【搞笑】猫咪日常", "ABC中文DEF",
    "繁體中文影片", "１２３ＡＢＣ", "ｆｕｌｌ　ｗｉｄｔｈ", "㊙️㍿", "𠀀𪛖", "豈更車", "\U0002b820 \U0002b920", "😀", "😀😃😄", "👍🏽 nice", "👨‍👩‍👧‍👦 family",
    "❤️ love", "🇨🇳🇺🇸", "cat 🐱 dog 🐶", "[SEP]", "[CLS]", "[MASK]", "[PAD]", "[UNK]", "x[SEP]y", "a [MASK] b", "[CLS] hello [SEP]", "[sep] [mask]",
    "[[SEP]]", "[SEP][SEP][SEP]", "##ing", "un##able", "[unused1]", "\u0000null\u0000", "zero\u200bwidth", "soft\u00adhyphen", "nb\u00a0space",
    "ideographic\u3000space", "line\u2028separator\u2029paragraph", "bell\u0007", "\ufeffbom", "re\ufffdplacement", "private\ue000use",
    "ﬁ ligature ﬂ", "ⅣⅧ", "½ ¾", "x² y₃", "№ ™ ©", "antidisestablishmentarianism", "a" * 100, "a" * 101, "supercalifragilisticexpialidocious " * 3,
    "ha" * 60, "!" * 70, "word " * 62, "word " * 63, "word " * 200, "长" * 61, "长" * 62, "长" * 63, "长" * 300, "é" * 120, "😀 " * 80,
    "lorem ipsum dolor sit amet " * 20, "[SEP] " * 70,
]
ENGLISH = "how to make best video of a cat dog cooking travel vlog review phone game music dance funny moments night market street food baby learn english football highlights".split()
CHINESE = list("我你他的是在有人这中大来上国个到说们为子和地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市")
MARKS = ["!", "?", ",", " - ", ": ", "…", " 😂", " 🔥", "。", ",", "!", " #1", " 2021", " é", " ×"]


def texts():
    pick = random.Random(20211029)
    out = list(BY_HAND)
    while len(out) < 200:
        kind = len(out) % 3
        words = [pick.choice(ENGLISH) for _ in range(pick.randint(2, 20))]
        signs = "".join(pick.choice(CHINESE) for _ in range(pick.randint(2, 30)))
        text = [" ".join(words), signs, signs[:8] + " ".join(words[:4]).title()][kind]
        out.append(text + pick.choice(MARKS) + (pick.choice(words).upper() if pick.random() < 0.3 else ""))
    return out


def main():
    folder, here = sys.argv[1], pathlib.Path(__file__).parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    network = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    rows, all_ids = [], []
    for text in texts():
        ids = tokenizer.backend_tokenizer.encode(text).ids
        all_ids.append(ids)
        with torch.no_grad():
            hidden = network(input_ids=torch.tensor([ids[:TOKENS]])).last_hidden_state[0]
        rows.append(torch.stack([hidden[0], hidden[-1], hidden.mean(0)]).numpy())
    (here / "hidden_states.json").write_text(json.dumps({"tokens": TOKENS, "texts": texts(), "ids": all_ids}, ensure_ascii=True, separators=(",", ":")) + "\n")
    safetensors.numpy.save_file({"hidden": numpy.stack(rows).astype(numpy.float32)}, here / "hidden_states.safetensors")


main()
