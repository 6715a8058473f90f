"""Times training steps of a network in plain PyTorch, on request.

One JSON object a line on standard input, one answer each on standard output:

    {"load": {"stage": "text", "weights": FILE, "config": {…}, "threads": 2}}
    {"loss": FILE}                          loss of a batch without dropout
    {"step": FILE, "dtype": "float32"}      seconds of forward, backward, optimiser;
                                            "cpu": those of all cores together

A batch is a safetensors file: video.tokens … and tags, or video1.…, video2.… and
labels. While no request is pending the process sleeps.
"""

import json
import sys
import time

import torch
from safetensors.torch import load_file

import models
import training


def read_batch(path):
    batch = {}
    for name, value in load_file(path).items():
        part, dot, key = name.partition(".")
        if dot:
            batch.setdefault(part, {})[key] = value
        else:
            batch[part] = value
    return batch


class Bench:
    def load(self, stage, weights, config, threads):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self.net = self.optimizer = None  # the last one's memory, before the next one takes its own
        self.net = models.STAGES[stage](config)
        self.net.load_state_dict(load_file(weights))
        training.freeze(self.net)
        self.optimizer = training.BertAdam(self.net, 5e-5, 1000)
        return {}

    def loss(self, path):
        self.net.eval()
        with torch.no_grad():
            return {"loss": training.loss_of(self.net, read_batch(path)).item()}

    def step(self, path, dtype):
        self.net.train()
        batch = read_batch(path)
        start, cpu = time.perf_counter(), time.process_time()
        training.loss_of(self.net, batch, getattr(torch, dtype)).backward()
        self.optimizer.step()
        return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


def main():
    bench = Bench()
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            answer = bench.load(**request["load"])
        elif "loss" in request:
            answer = bench.loss(request["loss"])
        else:
            answer = bench.step(request["step"], request["dtype"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
