"""A forward and backward pass of the NTM over copy tapes: the native step beside plain torch.

    python benchmarks/kernels/ntm.py
    JUMOK_NATIVE=0 python benchmarks/kernels/ntm.py

Processor time, one thread, 16 tapes of 20 words, the paper's sizes; the best of seven passes.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from jumok import native
from jumok.data.tasks.tapes import Copy
from jumok.models.ntm import NTM
from jumok.models.ntm_cell import NTMConfig


def main() -> None:
    torch.set_num_threads(1)
    batch = Copy(lengths_drawn=(20, 20)).batch(np.arange(16)).map(torch.from_numpy)
    steps = batch.inputs_BTI.shape[1]
    print(native.status())
    for controller in ("lstm", "feedforward"):
        model, seconds = NTM(NTMConfig(controller=controller), 9, 8), []
        for _ in range(7):
            began = time.process_time()
            loss = -model(batch).log_probs_BT[batch.target_mask_BT].mean()
            loss.backward()
            seconds.append(time.process_time() - began)
        print(f"{controller}: {1e3 * min(seconds) / steps:.2f} ms a step of 16 rows")


if __name__ == "__main__":
    main()
