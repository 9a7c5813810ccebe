"""Model -> a bundle that runs without torch."""

from jumok.export.onnx import export_onnx

__all__ = ["export_onnx"]
