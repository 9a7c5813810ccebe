"""Arrays to safetensors and back, checked against what the configuration implies."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jumok.errors import ModelFolderError
from jumok.store.manifest import strict_json

__all__ = ["Expected", "Spec", "dump_tensors", "parse_tensors", "specs"]

Spec = tuple[tuple[int, ...], str]
"""Shape and NumPy dtype name, such as ``((3, 5), "float32")``."""
Expected = Mapping[str, Spec]

HEADER_CAP = 16 << 20
DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}


def specs(arrays: Mapping[str, np.ndarray]) -> dict[str, Spec]:
    """The shape and dtype of each array: what reading them back will be checked against."""
    return {name: (tuple(a.shape), a.dtype.name) for name, a in arrays.items()}


def dump_tensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The same bytes for the same arrays, whatever their order in the mapping."""
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise TypeError(f"{name!r} has dtype {array.dtype}; known are {', '.join(DTYPES)}.")
    return save({name: np.array(arrays[name], order="C") for name in sorted(arrays)})


def parse_tensors(
    data: bytes, expected: Expected, where: str, *, finite: bool = False
) -> dict[str, np.ndarray]:
    """The arrays in ``data``; names, shapes and dtypes must be exactly the ``expected`` ones.

    All is compared before anything is allocated. ``finite`` also refuses NaN and infinity.
    """
    _compare(_header(data, where), expected, where)
    try:
        arrays = load(data)
    except (SafetensorError, ValueError) as error:
        raise _wrong(where, f"it is not a safetensors file ({str(error)[:80]})") from None
    for name, array in arrays.items():
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _wrong(where, f"the tensor {name!r} holds values that are not finite")
    return {name: np.array(arrays[name]) for name in expected}


def _header(data: bytes, where: str) -> dict[str, Spec]:
    if len(data) < 8:
        raise _wrong(where, "it is too short to be a safetensors file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(HEADER_CAP, len(data) - 8):
        raise _wrong(where, f"its header claims {length:,} bytes")
    header = strict_json(bytes(data[8 : 8 + length]), where)
    header.pop("__metadata__", None)
    known = {code: name for name, code in DTYPES.items()}
    try:
        return {
            n: (tuple(t["shape"]), known.get(t["dtype"], t["dtype"])) for n, t in header.items()
        }
    except (TypeError, KeyError):
        raise _wrong(where, "its header is not that of a safetensors file") from None


def _compare(found: Mapping[str, Spec], expected: Expected, where: str) -> None:
    for name in [*expected, *found]:
        if name not in found:
            raise _wrong(where, f"the tensor {name!r}, which the configuration implies, is missing")
        if name not in expected:
            raise _wrong(where, f"the tensor {name!r} belongs to no part of this model")
        if found[name] != expected[name]:
            (shape, dtype), (want_shape, want_dtype) = found[name], expected[name]
            raise _wrong(
                where,
                f"the tensor {name!r} is {dtype} {list(shape)}, but the configuration implies "
                f"{want_dtype} {list(want_shape)}",
            )


def _wrong(where: str, reason: str) -> ModelFolderError:
    return ModelFolderError(
        f"{where}: {reason}.",
        hint="the weights and the configuration must come from the same training run.",
    )
