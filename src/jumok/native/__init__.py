"""One small C++ library on plain pointers: its build, its ctypes face, its NumPy twins."""

from __future__ import annotations

from jumok.native.library import available, library, status

__all__ = ["available", "library", "status"]
