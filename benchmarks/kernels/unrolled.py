"""A whole training pass of a model beside the same by repeated steps: what its fused kernel brings.

    python benchmarks/kernels/unrolled.py rnnsearch cgru bahdanau

Forward and backward, batch 64, 24 source and 20 target symbols, hidden size 256, one thread, by the
time this thread computed; medians of seven, in milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from jumok.checks.laws import invented_batch
from jumok.models import MODELS
from jumok.models.contract import unroll

SIZE = 40


def milliseconds(loss: Callable[[], Tensor]) -> float:
    took = []
    for _ in range(8):
        began = time.thread_time()
        (-loss().mean()).backward()
        took.append(1000 * (time.thread_time() - began))
    return statistics.median(took[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+")
    torch.set_num_threads(1)
    batch = invented_batch(SIZE, SIZE, rows=64, source_length=24, target_length=20)
    for name in parser.parse_args().models:
        entry = MODELS[name]
        config = entry.config(**{**entry.preset, "hidden_size": 256})
        model = entry.model(config, SIZE, SIZE, seed=0)
        slow = milliseconds(lambda m=model: unroll(m, batch).log_probs_BT)
        fast = milliseconds(lambda m=model: m(batch).log_probs_BT)
        with torch.autocast("cpu", torch.bfloat16):
            low = milliseconds(lambda m=model: m(batch).log_probs_BT)
        print(f"{name}: unrolled {slow:.0f}, fused {fast:.0f}, fused in bf16 {low:.0f}")


if __name__ == "__main__":
    main()
