"""Weights set by hand: states that are codes, matrices that are tables.

Every state of a planted network is one of a few known vectors, a *code*. A matrix is then a
table: it sends each code to whatever we want to come next (``table``). Recurrent layers are
held at the edge of their gates, so that a state is the code of what was just read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from jumok.nn.recurrent import GRU, LSTM
from jumok.nn.stacks import EncoderStack

SIZE = 0.75
"""Of every coordinate of a code: below tanh(1), the most that an open LSTM cell lets out."""
OPEN, SHUT = 40.0, -40.0
"""A gate's input: sigmoid(40) = 1 and sigmoid(-40) = 0 to the last bit of float32."""

Part = tuple[np.ndarray, np.ndarray]
"""(codes that may come in, one a row; what each should become, one a row)."""


def orthogonal(count: int, size: int, first: int = 1) -> np.ndarray:
    """``count`` orthogonal rows of +-1: those of Sylvester's matrix from row ``first``."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.kron(matrix, [[1, 1], [1, -1]])
    assert matrix.shape == (size, size) and first + count <= size
    return matrix[first : first + count]


def table(*parts: Part) -> np.ndarray:
    """The smallest matrix that sends every code to its value; refuses what no matrix can do."""
    codes, values = (np.concatenate(side) for side in zip(*parts, strict=True))
    found = np.linalg.lstsq(codes, values, rcond=None)[0]
    assert np.abs(codes @ found - values).max() < 1e-6, "no matrix is this table"
    return found.T


def put(parameter: Tensor | None, values: np.ndarray | float) -> None:
    """Overwrite a weight, in its own precision."""
    assert parameter is not None
    with torch.no_grad():
        array = torch.as_tensor(values, dtype=parameter.dtype)
        parameter.copy_(array.expand_as(parameter))


def zero(module: torch.nn.Module) -> None:
    """Every weight 0: what is not planted says nothing."""
    for parameter in module.parameters():
        put(parameter, 0.0)


def drive(state: np.ndarray) -> np.ndarray:
    """The input of an LSTM's candidate that leaves ``state``: h = tanh(tanh(input))."""
    return np.arctanh(np.arctanh(state))


def plant_lstm(layer: LSTM, *parts: Part, recurrent: Sequence[Part] = ()) -> None:
    """An LSTM without memory: i and o open, f shut; its candidate is the sum of the tables.

    ``parts`` divide the input, in order. Without a bias the codes of the first part open the
    gates, so one of them must always be there.
    """
    H = layer.hidden_size
    gates = np.repeat([OPEN, SHUT, 0.0, OPEN], H)
    columns = []
    for number, (codes, candidate) in enumerate(parts):
        values = np.zeros((len(codes), 4 * H))
        if number == 0 and layer.b is None:
            values += gates
        values[:, 2 * H : 3 * H] += candidate
        columns.append(table((codes, values)))
    put(layer.W_x, np.concatenate(columns, axis=1))
    put(layer.W_h, 0.0)
    if recurrent:
        put(layer.W_h[2 * H : 3 * H], table(*recurrent))
    if layer.b is not None:
        put(layer.b, gates)


def plant_gru(layer: GRU, codes: np.ndarray, states: np.ndarray) -> None:
    """A GRU without memory: z lets the new state through, which is tanh of the table."""
    H = layer.hidden_size
    put(layer.W_x, 0.0)
    put(layer.W_x[2 * H :], table((codes, np.arctanh(states))))
    put(layer.W_h, 0.0)
    put(layer.b, np.repeat([OPEN, OPEN if layer.z_gates == "new" else SHUT, 0.0], H))


def plant_encoder(stack: EncoderStack, symbols: int, states_JD: np.ndarray) -> None:
    """An encoder whose state at each position is the code of the symbol there.

    Both directions are needed to tell the symbols apart: with concat each holds half of the
    code, with sum and mean each knows every other symbol. Layers above the first pass the code
    on; where they have skip connections they are silent, and the skip alone passes it on.
    """
    layers = zip(stack.forward_layers, stack.backward_layers or stack.forward_layers, strict=True)
    for depth, (ahead, back) in enumerate(layers):
        inputs = np.eye(ahead.W_x.shape[1])[:symbols] if depth == 0 else states_JD
        said = shares(stack, states_JD)
        if depth and stack.skip:
            said = [np.zeros_like(share) for share in said]
        for layer, share in zip((ahead, back), said, strict=False):
            if stack.cell == "lstm":
                plant_lstm(layer, (inputs, drive(share)))
            else:
                plant_gru(layer, inputs, share)


def shares(stack: EncoderStack, states_JD: np.ndarray) -> list[np.ndarray]:
    """What each direction says of every symbol, so that merged they say ``states_JD``."""
    if not stack.bidirectional:
        return [states_JD]
    if stack.merge == "concat":
        return np.split(states_JD, 2, axis=1)
    even = (np.arange(len(states_JD)) % 2 == 0)[:, None]
    whole = states_JD * (2 if stack.merge == "mean" else 1)
    return [np.where(even, whole, 0.0), np.where(even, 0.0, whole)]


def merged(ahead: np.ndarray, back: np.ndarray, merge: str) -> np.ndarray:
    """The two directions as one, along the last axis."""
    match merge:
        case "concat":
            return np.concatenate([ahead, back], axis=-1)
        case "sum":
            return ahead + back
        case _:
            return (ahead + back) / 2
