"""Losses and optimiser of training in plain PyTorch; see models.py."""

import torch
import torch.nn.functional as F


def tag_loss(logits, y):
    p = torch.sigmoid(logits.float()).clamp(1e-7, 1 - 1e-7)
    q = 1 - p
    likelihood = y * p.log() + (1 - y) * q.log()
    certainty = p * y + q * (1 - y)
    return -(likelihood * (10 * y + (1 - y)) * (1 - certainty) ** 2).sum() * 0.001


def unsupervised(n):
    s = n @ n.T
    miss = torch.stack([(s - c) ** 2 for c in (0.0, 0.5, 1.0)]).min(0).values
    return 0.5 * (miss * (1 - torch.eye(len(n)))).mean()


def pair_loss(a, b, labels):
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    return ((a * b).sum(1) - labels).pow(2).mean() + unsupervised(a) + unsupervised(b)


def loss_of(net, batch, dtype=torch.float32):
    """The loss of one batch: tagged videos, or pairs with their labels."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
        if "tags" in batch:
            out = [net.logits(net(batch["video"]))]
        else:
            out = [net(batch["video1"]), net(batch["video2"])]
    return tag_loss(out[0], batch["tags"]) if "tags" in batch else pair_loss(out[0], out[1], batch["labels"])


def freeze(net):
    """Lets gradients reach what the network's stage trains."""
    if hasattr(net, "trained"):
        for name, p in net.named_parameters():
            p.requires_grad_(net.trained(name))


class BertAdam:
    """Adam without bias correction, each gradient clipped to norm 1 on its own."""

    def __init__(self, net, rate, total, warmup=0.05):
        self.params = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
        self.rate, self.total, self.warmup = rate, total, warmup
        self.state = {}

    def step(self):
        with torch.no_grad():
            for name, p in self.params:
                if p.grad is None:
                    continue
                s = self.state.setdefault(name, {"k": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p)})
                torch.nn.utils.clip_grad_norm_([p], 1.0)
                s["m"].mul_(0.9).add_(p.grad, alpha=0.1)
                s["v"].mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                u = s["m"] / (s["v"].sqrt() + 1e-6)
                if "bias" not in name and "LayerNorm.weight" not in name:
                    u += 0.01 * p
                x = s["k"] / self.total
                f = x / self.warmup if x < self.warmup else max((x - 1) / (self.warmup - 1), 0)
                p.add_(u, alpha=-self.rate * f)
                s["k"] += 1
                p.grad = None
