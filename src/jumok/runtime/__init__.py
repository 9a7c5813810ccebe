"""Decoding of exported bundles, without torch."""

from jumok.runtime.onnx_engine import OnnxEngine

__all__ = ["OnnxEngine"]
