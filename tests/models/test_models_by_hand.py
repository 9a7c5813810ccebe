"""Every model and wiring against its paper's equations in NumPy, sentence by sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jumok.checks.laws import invented_batch
from jumok.models.contract import Want
from laws.variants import SOURCE_SIZE, TARGET_SIZE, VARIANTS, Variant
from models.by_hand import BY_HAND, Weights
from models.by_hand_copying import monotonic, pointer
from models.by_hand_gnmt import gnmt
from models.by_hand_modern import hybrid, modern
from models.by_hand_ntm import ntm
from models.by_hand_parallel import convs2s, parallel
from models.by_hand_transformer import transformer

BY_HAND = BY_HAND | {
    **dict.fromkeys(("transformer", "transformer-base", "transformer-big"), transformer),
    "modern": modern,
    **dict.fromkeys(("hybrid", "hybrid-ssru"), hybrid),
    **dict.fromkeys(("qrnn", "sru", "ssru", "mingru", "minlstm"), parallel),
    "convs2s": convs2s,
    "gnmt": gnmt,
    "monotonic": monotonic,
    "ntm": ntm,
    "pointer": pointer,
}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_model_is_its_paper(variant: Variant) -> None:
    model = variant.build()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, seed=4)
    with torch.no_grad():
        output = model.forward(batch, want=Want.LOGITS | Want.WEIGHTS)
    log_p_BTV = torch.log_softmax(output.logits_BTV, dim=-1).numpy()
    W = Weights.of(model)
    for row in range(len(batch.example_B)):
        S = int(batch.source.mask_BS[row].sum())
        T = int(batch.target_mask_BT[row].sum())
        source = batch.source.ids_BS[row, :S].numpy()
        target_in = batch.target_in_BT[row, :T].numpy()
        expected = BY_HAND[variant.model](W, model.config, source, target_in)
        assert np.abs(log_p_BTV[row, :T] - expected.log_p_TV).max() < 1e-10
        gold = expected.log_p_TV[np.arange(T), batch.target_out_BT[row, :T].numpy()]
        assert np.abs(output.log_probs_BT[row, :T].numpy() - gold).max() < 1e-10
        assert (output.weights_BTS is None) == (expected.weights_TS is None)
        if expected.weights_TS is not None:
            weights_TS = output.weights_BTS[row, :T].numpy()
            assert np.abs(weights_TS[:, :S] - expected.weights_TS).max() < 1e-10
