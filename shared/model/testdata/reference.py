"""Both models in plain PyTorch, with the padding of the published system.

The benchmark starts this to compare with: every text has 64 or 32 tokens, every
video 32 frames, and all of them are computed. One JSON request a line on
standard input, one answer each on standard output:

    {"load": [LATE, EARLY, CONFIG, THREADS, DEVICE]}   safetensors files
    {"embed": [BATCH, DTYPE]}                          seconds, CPU seconds, both halves
    {"peak": [ROWS, IN, OUT, DTYPE]}                   GFLOP/s of a matrix product
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class Net:
    """The weights of one model, and layers that look them up by name."""

    def __init__(self, path, dtype, device):
        unread = ("cls.weight", "cls.bias")  # heads of pretraining
        heads = ("fusion_gate.", "video_embed.", "text_embed.", "embed.")  # stay in float32
        self.w = {
            k: v.to(dtype) if v.is_floating_point() and not k.startswith(heads) else v
            for k, v in load_file(path, device).items() if not k.endswith(unread)
        }
        self.dtype = dtype

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def norm(self, name, x, eps=1e-5):
        w = self.w[name + ".weight"]
        return F.layer_norm(x, w.shape, w, self.w[name + ".bias"], eps)

    def attention(self, q, k, v, heads, bias):
        split = lambda x: x.unflatten(2, (heads, -1)).transpose(1, 2)
        return F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=bias).transpose(1, 2).flatten(2)

    def bert(self, at, x, types, places, mask, layers, heads, eps):
        e = at + "embeddings."
        x = x + self.w[e + "token_type_embeddings.weight"][types] + self.w[e + "position_embeddings.weight"][places]
        x = self.norm(e + "LayerNorm", x, eps)
        bias = self.bias(mask)
        for i in range(layers):
            p = f"{at}encoder.layer.{i}."
            q, k, v = (self.linear(f"{p}attention.self.{n}", x) for n in ("query", "key", "value"))
            a = self.linear(p + "attention.output.dense", self.attention(q, k, v, heads, bias))
            x = self.norm(p + "attention.output.LayerNorm", a + x, eps)
            f = self.linear(p + "output.dense", F.gelu(self.linear(p + "intermediate.dense", x)))
            x = self.norm(p + "output.LayerNorm", f + x, eps)
        return x

    def text(self, at, tokens, types, mask, t):
        words = self.w[at + "embeddings.word_embeddings.weight"][tokens]
        return self.bert(at, words, types, torch.arange(tokens.shape[1]), mask, t["layers"], t["heads"], t["layer_norm_eps"])

    def bias(self, mask):
        return torch.zeros(mask.shape, dtype=self.dtype).masked_fill(mask == 0, -math.inf)[:, None, None, :]

    def gate(self, x):
        p = "fusion_gate.fc_avg."
        x = self.linear(p + "0", x)
        n = [self.w[p + "1." + k] for k in ("running_mean", "running_var", "weight", "bias")]
        return torch.sigmoid(F.batch_norm(x, *n, eps=1e-5))


def mean(x, mask):
    w = mask.float()
    return (x.float() * w[:, :, None]).sum(1) / (w.sum(1, keepdim=True) + 1e-10)


def late(m, c, b):
    text = m.text("text_model.text_model.", b["late.tokens"], b["late.types"], b["late.mask"], c["text"])[:, 0].float()
    v, at = c["video"], "video_model.video_model."
    mask = torch.cat([torch.ones(len(text), 1, dtype=torch.int64), b["frame_mask"]], 1)
    bias = None if c["attend_padding_frames"] else m.bias(mask)
    x = torch.cat([m.w[at + "cls_token"].expand(len(text), -1, -1), b["frames"].to(m.dtype)], 1)
    for i in range(v["depth"]):
        p = f"{at}layers.{i}."
        qkv = m.linear(p + "0.fn.fn.to_qkv", m.norm(p + "0.fn.norm", x)).chunk(3, 2)
        x = x + m.linear(p + "0.fn.fn.to_out.0", m.attention(*qkv, v["heads"], bias))
        x = x + m.linear(p + "1.fn.fn.net.3", F.gelu(m.linear(p + "1.fn.fn.net.0", m.norm(p + "1.fn.norm", x))))
    t, f = m.linear("text_embed", text), m.linear("video_embed", mean(x, mask))
    g, e = m.gate(torch.cat([f, t], 1)), c["embedding"]
    return g[:, :e] * f + g[:, e:] * t


def early(m, c, b):
    tokens, frames, x = b["early.tokens"], b["frames"].to(m.dtype), c["cross"]
    text = m.text("bert.text_model.", tokens, torch.zeros_like(tokens), b["early.mask"], c["text"])
    both = torch.cat([m.norm("bert.text_ln", text), m.linear("bert.visual_embeddings", frames)], 1)
    n, t, f = len(tokens), tokens.shape[1], frames.shape[1]
    types = torch.cat([torch.zeros(n, t, dtype=torch.int64), torch.ones(n, f, dtype=torch.int64)], 1)
    places = torch.cat([torch.arange(t), torch.arange(c["early_tokens"], c["early_tokens"] + f)])
    mask = torch.cat([b["early.mask"], b["frame_mask"]], 1)
    out = m.bert("bert.multi_bert.", both, types, places, mask, x["layers"], x["heads"], c["text"]["layer_norm_eps"])
    e = torch.cat([out[:, 0].float(), mean(out[:, t:], b["frame_mask"])], 1)
    return m.linear("embed", e * m.gate(e))


class Bench:
    def load(self, late_path, early_path, config, threads, device):
        torch.set_num_threads(threads)
        self.gpu = device != "cpu"
        if self.gpu:  # not otherwise: it costs time in every call
            torch.set_default_device(device)
        self.device, self.paths, self.config, self.nets = device, (late_path, early_path), config, {}
        return {}

    def embed(self, path, dtype):
        if dtype not in self.nets:
            self.nets[dtype] = [Net(p, getattr(torch, dtype), self.device) for p in self.paths]
            self.embed(path, dtype)  # the first one sets memory and kernels up
        b = load_file(path)
        wall, cpu = time.perf_counter(), time.process_time()
        b = {k: v.to(self.device) for k, v in b.items()}
        halves = [f(m, self.config, b) for f, m in zip((late, early), self.nets[dtype])]
        halves = [h.cpu() for h in halves]  # waits for a GPU
        return {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
                "late": halves[0].tolist(), "early": halves[1].tolist()}

    def peak(self, rows, width, out, dtype):
        """The best of eight products, with plain weights and with packed ones."""
        dtype = getattr(torch, dtype)
        x, w = torch.randn(rows, width).to(dtype), torch.randn(out, width).to(dtype)
        products = [lambda: F.linear(x, w)]
        if not self.gpu and "AVX512" in torch.backends.cpu.get_cpu_capability():
            packed = torch.ops.mkldnn._reorder_linear_weight(w)
            products.append(lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""))
        best = math.inf
        for product in products * 8:
            start = time.perf_counter()
            product()
            if self.gpu:
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return {"gflops": 2e-9 * rows * width * out / best}


def main():
    bench = Bench()
    with torch.no_grad():
        for line in sys.stdin:
            (name, arguments), = json.loads(line).items()
            print(json.dumps(getattr(bench, name)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
