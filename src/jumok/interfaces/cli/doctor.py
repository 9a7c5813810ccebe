"""``jumok doctor``: what this machine has, and what is missing for what; it never fails."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata

from jumok.interfaces.cli.streams import json_line, say

EXAMPLES = (
    "jumok doctor",
    "jumok doctor --json",
)

CORE = (
    "torch",
    "numpy",
    "safetensors",
    "sentencepiece",
    "sacrebleu",
    "rapidfuzz",
    "cyclopts",
    "rich",
    "matplotlib",
    "babel",
)
EXTRAS = {
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "track": ("tensorboard",),
}


def doctor(*, json: bool = False) -> None:
    """Versions, processors, native kernels, precision, fonts, extras: what is there, what not.

    Parameters
    ----------
    json
        One object on standard output.
    """
    found = {name: _asked(question) for name, question in QUESTIONS.items()}
    if json:
        json_line(found)
        return
    width = max(map(len, found))
    for name, answer in found.items():
        say(f"{name:{width}}  {_shown(answer)}")


def _asked(question: Callable[[], object]) -> object:
    """The answer; a question that breaks is answered with what broke."""
    try:
        return question()
    except Exception as error:  # a broken installation is what one calls the doctor for
        return f"cannot tell: {type(error).__name__}: {error}"


def _shown(answer: object) -> str:
    if isinstance(answer, dict):
        return ", ".join(f"{name} {value}" for name, value in answer.items())
    return ", ".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _jumok() -> str:
    return _version("jumok") or "not installed (running from its source)"


def _python() -> str:
    return f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})"


def _system() -> str:
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def _processor() -> dict[str, object]:
    import torch

    flags = _processor_flags()
    return {
        "cores": os.cpu_count(),
        "usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "unknown",
        "torch threads": torch.get_num_threads(),
        "vectors": next((f for f in ("avx512f", "avx2", "asimd") if f in flags), "baseline"),
    }


def _processor_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith(("flags", "Features"))]
        return set(lines[0].split()) if lines else set()
    except OSError:
        return set()


def _bf16() -> str:
    flags = _processor_flags()
    fast = [name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags]
    return f"fast ({', '.join(fast)})" if fast else "slow on this processor; float32 is used"


def _devices() -> list[str]:
    import torch

    names = ["cpu"]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        names.append(f"cuda:{index} {torch.cuda.get_device_name(index)}")
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def _native() -> str:
    library = importlib.import_module("jumok.native.library")
    return str(library.status())


def _fonts() -> str:
    from jumok.views.fonts import advice, choose

    families, missing = choose(["주목 attention"])
    return advice(missing) if missing else f"Hangul is drawn with {families[0]}"


def _packages() -> dict[str, str]:
    return {name: _version(name) or "MISSING" for name in CORE}


def _extras() -> dict[str, str]:
    """Extra -> complete, or what of it is missing and how to get it."""
    found = {}
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        found[extra] = (
            f"lacks {' '.join(missing)} (pip install 'jumok[{extra}]')" if missing else "ok"
        )
    return found


QUESTIONS: dict[str, Callable[[], object]] = {
    "jumok": _jumok,
    "python": _python,
    "system": _system,
    "processor": _processor,
    "devices": _devices,
    "native kernels": _native,
    "bf16": _bf16,
    "fonts": _fonts,
    "packages": _packages,
    "extras": _extras,
}
