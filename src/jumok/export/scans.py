"""Recurrent layers as scans: the form in which a loop over a source of any length exports.

A Python loop would be unrolled to the length of the example, and native kernels cannot be
traced at all. A scan becomes one ONNX ``Scan`` node whose body is the layer's own ``step``.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from jumok.models.ntm_cell import NTMState
from jumok.models.ntm_tokens import NTMReader, Read
from jumok.nn.linear_recurrence import ForgetPool
from jumok.nn.recurrent import GRU, LSTM

__all__ = ["with_scans"]


def _scan_lstm(
    layer: LSTM, x_BTE: Tensor, h_BH: Tensor, c_BH: Tensor, *, cells: bool = True
) -> tuple[Tensor, Tensor | None]:
    """``LSTM.forward``; both states travel as one array, since a scan wants distinct ones."""
    size = layer.hidden_size

    def body(hc_BX: Tensor, x_BE: Tensor) -> tuple[Tensor, Tensor]:
        hc_BX = torch.cat(layer.step(x_BE, hc_BX[:, :size], hc_BX[:, size:]), dim=-1)
        return hc_BX, hc_BX.clone()

    _, hc_TBX = scan(body, torch.cat([h_BH, c_BH], dim=-1), x_BTE.transpose(0, 1), dim=0)
    hc_BTX = hc_TBX.transpose(0, 1)
    return hc_BTX[..., :size], hc_BTX[..., size:] if cells else None


def _scan_gru(layer: GRU, x_BTE: Tensor, h_BH: Tensor) -> Tensor:
    """``GRU.forward``."""

    def body(h_BH: Tensor, x_BE: Tensor) -> tuple[Tensor, Tensor]:
        h_BH = layer.step(x_BE, h_BH)
        return h_BH, h_BH.clone()

    _, h_TBH = scan(body, h_BH, x_BTE.transpose(0, 1), dim=0)
    h_BTH: Tensor = h_TBH.transpose(0, 1)
    return h_BTH


def _scan_pool(pool: ForgetPool, a_BTH: Tensor, u_BTH: Tensor, c_BH: Tensor) -> Tensor:
    """``ForgetPool.forward``."""
    size = c_BH.shape[-1]

    def body(c_BH: Tensor, au_BX: Tensor) -> tuple[Tensor, Tensor]:
        c_BH = pool.step(au_BX[:, :size], au_BX[:, size:], c_BH)
        return c_BH, c_BH.clone()

    _, c_TBH = scan(body, c_BH, torch.cat([a_BTH, u_BTH], dim=-1).transpose(0, 1), dim=0)
    c_BTH: Tensor = c_TBH.transpose(0, 1)
    return c_BTH


def _scan_ntm(reader: NTMReader, x_BSE: Tensor, mask_BS: Tensor) -> Read:
    """``NTMReader.forward``; the whole state travels as one array."""
    begun = reader.cell.start(x_BSE.shape[0])
    leaves = begun.arrays()
    shapes = [leaf.shape[1:] for leaf in leaves.values()]
    sizes = [shape.numel() for shape in shapes]

    def apart(flat: Tensor) -> NTMState:
        parts = torch.split(flat, sizes, dim=-1)
        shaped = [p.reshape(*p.shape[:-1], *shape) for p, shape in zip(parts, shapes, strict=True)]
        return begun.with_arrays(dict(zip(leaves, shaped, strict=True)))

    def joined(state: NTMState) -> Tensor:
        return torch.cat([leaf.flatten(1) for leaf in state.arrays().values()], dim=-1)

    def body(flat_BX: Tensor, given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x_BE, real_B = given
        flat_BX = joined(reader.step(x_BE, real_B, apart(flat_BX)))
        return flat_BX, flat_BX.clone()

    given = (x_BSE.transpose(0, 1), mask_BS.transpose(0, 1))
    last_BX, flat_SBX = scan(body, joined(begun), given, dim=0)
    through = apart(flat_SBX.transpose(0, 1))
    return Read(apart(last_BX), through.read_weights_BRN, through.write_weights_BRN)


_SCANS: dict[type, Any] = {
    LSTM: _scan_lstm,
    GRU: _scan_gru,
    ForgetPool: _scan_pool,
    NTMReader: _scan_ntm,
}


def with_scans(model: nn.Module) -> nn.Module:
    """A float32 copy of ``model`` on the CPU whose recurrent layers run as scans."""
    model = copy.deepcopy(model).cpu().float()
    for module in model.modules():
        if type(module) in _SCANS:
            module.__dict__["forward"] = partial(_SCANS[type(module)], module)
    return model
