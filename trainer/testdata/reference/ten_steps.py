"""Ten training steps of each stage on the golden inputs.

    python ten_steps.py [GOLDEN_DIR] > ../ten_steps.json

The fixtures hold the first five losses of the published code. This repeats them
in plain PyTorch from the same weights, refuses to go on unless all five agree
within 1e-5, and continues to ten on the batches 0, 1, 0, 1, …
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

import models
import training

STEPS, GATE = 10, 1e-5
FIXTURES = {
    "textnet": "text", "videonet": "video", "multibert": "cross", "simnet13": "late", "multibert_simnet": "early",
}


def config(z):
    return {
        "text": {
            "vocab": z["bert_vocab"], "hidden": z["bert_hidden"], "layers": z["bert_layers"], "heads": z["bert_heads"],
            "intermediate": z["bert_intermediate"], "max_position": z["bert_max_position"],
            "type_vocab": z.get("bert_type_vocab", 2), "layer_norm_eps": z.get("bert_layer_norm_eps", 1e-12), "dropout": 0.0,
        },
        "video": {
            "frame_dim": z["video_dim"], "depth": z["video_depth"], "heads": z["video_heads"],
            "head_dim": z["video_dim_head"], "mlp": z["video_mlp"], "dropout": 0.0,
            "layer_norm_eps": z.get("video_layer_norm_eps", 1e-5),
        },
        "cross": {
            "layers": z["cross_modal_layers"], "heads": z["cross_modal_heads"],
            "intermediate": z.get("cross_modal_intermediate", z["bert_intermediate"]),
        },
        "tags": z["tags"], "embedding": z["final_embedding"], "early_tokens": z["text_len_model2"],
        "attend_padding_frames": True,
    }


def inputs(x, prefix):
    names = {"tokens": "input_ids", "types": "token_type_ids", "mask": "attention_mask", "frames": "frames"}
    b = {ours: x[prefix + theirs] for ours, theirs in names.items() if prefix + theirs in x}
    if "frames" in b:
        b["frame_mask"] = x[prefix + "frame_mask"][:, -b["frames"].shape[1]:]  # without the class token
    return b


def batch(x, i):
    if f"batch{i}.tags" in x:
        return {"video": inputs(x, f"batch{i}."), "tags": x[f"batch{i}.tags"].float()}
    return {
        "video1": inputs(x, f"batch{i}.video1."), "video2": inputs(x, f"batch{i}.video2."),
        "labels": x[f"batch{i}.labels"].float(),
    }


def curve(folder, file, stage, manifest):
    x = load_file(folder / f"{file}.safetensors")
    info = manifest["files"][f"{file}.safetensors"]
    net = models.STAGES[stage](config({**manifest["sizes"], **info.get("sizes", {})}))
    net.load_state_dict({k.removeprefix("weights/"): v for k, v in x.items() if k.startswith("weights/")})
    training.freeze(net)
    net.train()
    o = info["optimizer"]
    optimizer = training.BertAdam(net, o["lr"], o["t_total"], o["warmup"])
    losses = []
    for k in range(STEPS):
        loss = training.loss_of(net, batch(x, k % 2))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for k, want in enumerate(x["train.loss_per_step"].tolist()):
        if not abs(losses[k] - want) <= GATE * abs(want):
            sys.exit(f"{file}, step {k}: loss {losses[k]}, the fixture has {want}")
    return losses


def main():
    here = pathlib.Path(__file__).parent
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "../../../shared/testkit/golden"
    manifest = json.loads((folder / "manifest.json").read_text())
    torch.set_num_threads(1)
    curves = {f"{f}.safetensors": curve(folder, f, stage, manifest) for f, stage in FIXTURES.items()}
    json.dump({"made_with": f"torch {torch.__version__}", "losses": curves}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
