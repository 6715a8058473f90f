"""Opens the event files of a training run with TensorBoard's own reader and
compares every scalar with metrics.jsonl, as single precision stores it.

    check_tensorboard.py WORK_FOLDER
"""
import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.util import tensor_util

FIELDS = ["loss", "supervised_loss", "unsupervised_loss", "learning_rate", "videos_per_second", "spearman"]


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def expected(work):
    """{(run, tag): [(step, value)]} of the lines of metrics.jsonl."""
    scalars = {}
    for line in (work / "metrics.jsonl").read_text().splitlines():
        m = json.loads(line)
        for field in FIELDS:
            if "stage" in m and field in m:
                key = m["stage"].replace(" ", "-"), m["event"] + "/" + field
                scalars.setdefault(key, []).append((m.get("step", 0), float32(m[field])))
    return scalars


def found(work):
    """The same, of the event files. Nothing is sampled away."""
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
    multiplexer.AddRunsFromDirectory(str(work / "tensorboard"))
    multiplexer.Reload()
    scalars = {}
    for run, data in multiplexer.Runs().items():
        for tag in data["tensors"]:
            if events := multiplexer.Tensors(run, tag):
                scalars[run, tag] = [(e.step, tensor_util.make_ndarray(e.tensor_proto).item()) for e in events]
    return scalars


def main():
    work = pathlib.Path(sys.argv[1])
    want, got = expected(work), found(work)
    wrong = [key for key in want.keys() | got.keys() if want.get(key) != got.get(key)]
    for key in sorted(wrong):
        print(*key, "expected", want.get(key), "found", got.get(key))
    if wrong or not want:
        sys.exit(f"{len(wrong)} of {len(want)} series differ")
    print(f"{len(want)} series with {sum(map(len, want.values()))} scalars in {len({r for r, _ in want})} runs, all as in metrics.jsonl")


main()
