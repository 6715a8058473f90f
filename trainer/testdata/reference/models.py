"""The five networks of training in plain PyTorch.

Written from the same description as the Go code and independent of it, for two
uses: ten_steps.py computes loss curves to compare with, bench_step.py is what
the trainer's speed is measured against. Parameter names are those of the
checkpoints, so that a state dict fits both.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def mask_bias(mask):
    """(B,N) of 1 and 0 -> what is added to attention scores (B,1,1,N)."""
    bias = torch.zeros(mask.shape, dtype=torch.float32)
    return bias.masked_fill(mask == 0, -math.inf)[:, None, None, :]


def masked_mean(x, mask):
    weights = mask.float()
    return (x.float() * weights[:, :, None]).sum(1) / (weights.sum(1, keepdim=True) + 1e-10)


def heads_of(x, heads):
    b, n, _ = x.shape
    return x.reshape(b, n, heads, -1).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


class Parts(nn.Module):
    """A module whose parts have the given names, `self` among them."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class BertLayer(nn.Module):
    def __init__(self, hidden, heads, intermediate, eps, dropout):
        super().__init__()
        linear = lambda: nn.Linear(hidden, hidden)
        self.heads, self.dropout = heads, dropout
        self.attention = Parts(output=Parts(dense=linear(), LayerNorm=nn.LayerNorm(hidden, eps=eps)))
        self.attention.add_module("self", Parts(query=linear(), key=linear(), value=linear()))
        self.intermediate = Parts(dense=nn.Linear(hidden, intermediate))
        self.output = Parts(dense=nn.Linear(intermediate, hidden), LayerNorm=nn.LayerNorm(hidden, eps=eps))

    def forward(self, x, bias):
        at = getattr(self.attention, "self")
        q, k, v = (heads_of(f(x), self.heads) for f in (at.query, at.key, at.value))
        p = self.dropout if self.training else 0.0
        a = joined(F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=p))
        out = self.attention.output
        x = out.LayerNorm(F.dropout(out.dense(a), self.dropout, self.training) + x)
        f = self.output.dense(F.gelu(self.intermediate.dense(x)))
        return self.output.LayerNorm(F.dropout(f, self.dropout, self.training) + x)


class Bert(nn.Module):
    def __init__(self, c, layers, heads, intermediate):
        super().__init__()
        h, eps = c["hidden"], c["layer_norm_eps"]
        self.dropout = c["dropout"]
        self.embeddings = Parts(
            word_embeddings=nn.Embedding(c["vocab"], h, padding_idx=0),
            position_embeddings=nn.Embedding(c["max_position"], h),
            token_type_embeddings=nn.Embedding(c["type_vocab"], h),
            LayerNorm=nn.LayerNorm(h, eps=eps),
        )
        layer = lambda: BertLayer(h, heads, intermediate, eps, c["dropout"])
        self.encoder = Parts(layer=nn.ModuleList(layer() for _ in range(layers)))
        self.pooler = Parts(dense=nn.Linear(h, h))  # in checkpoints; nothing reads it

    def forward(self, hidden, types, places, mask):
        e = self.embeddings
        x = e.LayerNorm(hidden + e.token_type_embeddings(types) + e.position_embeddings(places))
        x = F.dropout(x, self.dropout, self.training)
        bias = mask_bias(mask)
        for layer in self.encoder.layer:
            x = layer(x, bias)
        return x

    def text(self, tokens, types, mask):
        return self(self.embeddings.word_embeddings(tokens), types, torch.arange(tokens.shape[1]), mask)


def text_bert(c):
    t = c["text"]
    return Bert(t, t["layers"], t["heads"], t["intermediate"])


class VideoAttention(nn.Module):
    def __init__(self, dim, heads, inner, dropout):
        super().__init__()
        self.heads, self.inner = heads, inner
        self.to_qkv = nn.Linear(dim, 3 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim), nn.Dropout(dropout))

    def forward(self, x, bias):
        q, k, v = (heads_of(p, self.heads) for p in self.to_qkv(x).chunk(3, dim=-1))
        return self.to_out(joined(F.scaled_dot_product_attention(q, k, v, attn_mask=bias)))


class VideoMLP(nn.Module):
    def __init__(self, dim, width, dropout):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, dim), nn.Dropout(dropout))

    def forward(self, x, bias):
        return self.net(x)


class VideoTransformer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, inner, p = c["frame_dim"], c["heads"] * c["head_dim"], c["dropout"]
        self.dropout = p
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        norm = lambda: nn.LayerNorm(d, eps=c["layer_norm_eps"])
        self.layers = nn.ModuleList(
            nn.ModuleList([
                Parts(fn=Parts(norm=norm(), fn=VideoAttention(d, c["heads"], inner, p))),
                Parts(fn=Parts(norm=norm(), fn=VideoMLP(d, c["mlp"], p))),
            ]) for _ in range(c["depth"]))

    def forward(self, frames, bias):
        x = torch.cat([self.cls_token.expand(len(frames), -1, -1), frames], 1)
        x = F.dropout(x, self.dropout, self.training)
        for parts in self.layers:
            for part in parts:
                x = x + part.fn.fn(part.fn.norm(x), bias)
        return x


class TextNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.text_model = text_bert(c)
        self.cls = nn.Linear(c["text"]["hidden"], c["tags"])

    def forward(self, b):
        return self.text_model.text(b["tokens"], b["types"], b["mask"])[:, 0]

    def logits(self, hidden):
        return self.cls(F.relu(hidden))


class VideoNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attend_padding = c["attend_padding_frames"]
        self.video_model = VideoTransformer(c["video"])
        self.cls = nn.Linear(c["video"]["frame_dim"], c["tags"])

    def forward(self, b):
        mask = torch.cat([torch.ones(len(b["frames"]), 1, dtype=torch.int64), b["frame_mask"]], 1)
        return masked_mean(self.video_model(b["frames"], None if self.attend_padding else mask_bias(mask)), mask)

    def logits(self, hidden):
        return self.cls(hidden)


class Cross(nn.Module):
    def __init__(self, c):
        super().__init__()
        h, x = c["text"]["hidden"], c["cross"]
        self.first_frame = c["early_tokens"]
        self.text_model = text_bert(c)
        self.text_ln = nn.LayerNorm(h, eps=1e-5)
        self.visual_embeddings = nn.Linear(c["video"]["frame_dim"], h)
        self.multi_bert = Bert(c["text"], x["layers"], x["heads"], x["intermediate"])
        self.cls = nn.Linear(2 * h, c["tags"])

    def forward(self, b):
        tokens, frames = b["tokens"], b["frames"]
        t, f = tokens.shape[1], frames.shape[1]
        text = self.text_ln(self.text_model.text(tokens, torch.zeros_like(tokens), b["mask"]))
        both = torch.cat([text, self.visual_embeddings(frames)], 1)
        types = torch.cat([torch.zeros_like(tokens), torch.ones(len(frames), f, dtype=torch.int64)], 1)
        places = torch.cat([torch.arange(t), torch.arange(self.first_frame, self.first_frame + f)])
        out = self.multi_bert(both, types, places, torch.cat([b["mask"], b["frame_mask"]], 1))
        return torch.cat([out[:, 0].float(), masked_mean(out[:, t:], b["frame_mask"])], 1)

    def logits(self, hidden):
        return self.cls(hidden)


def gate(width):
    return Parts(fc_avg=nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width)))


class Late(nn.Module):
    def __init__(self, c):
        super().__init__()
        e = c["embedding"]
        self.text_model, self.video_model = TextNet(c), VideoNet(c)
        self.video_embed = nn.Linear(c["video"]["frame_dim"], e)
        self.text_embed = nn.Linear(c["text"]["hidden"], e)
        self.fusion_gate = gate(2 * e)

    def trained(self, name):
        return not name.startswith(("text_model.", "video_model."))

    def forward(self, b):
        text, video = self.text_model(b).float(), self.video_model(b)
        with torch.autocast("cpu", enabled=False):
            t, v = self.text_embed(text), self.video_embed(video)
            g = torch.sigmoid(self.fusion_gate.fc_avg(torch.cat([v, t], 1)))
            e = v.shape[1]
            return g[:, :e] * v + g[:, e:] * t


class EarlyFinetuned(nn.Module):
    def __init__(self, c):
        super().__init__()
        h = 2 * c["text"]["hidden"]
        self.bert = Cross(c)
        self.fusion_gate = gate(h)
        self.embed = nn.Linear(h, c["embedding"])

    def trained(self, name):
        return not name.startswith("bert.") or name.startswith("bert.multi_bert.")

    def forward(self, b):
        e = self.bert(b)
        with torch.autocast("cpu", enabled=False):
            return self.embed(e * torch.sigmoid(self.fusion_gate.fc_avg(e)))


STAGES = {"text": TextNet, "video": VideoNet, "cross": Cross, "late": Late, "early": EarlyFinetuned}
