"""The house stands: imports only look down, nothing above the torch line needs torch, files stay
short enough to read."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
HOUSE = SRC / "jumok"

# Each stands on those above it; siblings on one line never import each other.
LAYERS = (
    ("errors",),
    ("config",),
    ("records",),
    ("data", "native", "store", "reference"),
    ("search",),
    ("runtime",),
    ("evaluation", "alignment"),
    ("views",),
    ("kernels",),
    ("nn",),
    ("models",),
    ("training", "engine", "export"),
    ("checks",),
    ("recipes",),
    ("interfaces",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
TORCH_LINE = LEVEL["views"]
ABSENT = ("torch", "matplotlib", "sentencepiece", "sacrebleu", "babel", "onnxruntime")

MODEL_LINES, MODEL_REACH = 300, 8
VOCABULARY = ("errors", "config", "records", "native", "kernels")
BOOKKEEPING = ("jumok.nn.paths",)
"""Words of the whole house, the fast twins of equations that stand in ``nn``, notes of what ran:
no reader of a paper's file has to open them."""
FILE_LINES, FUNCTION_LINES = 400, 60


@dataclass(frozen=True)
class Import:
    """One import of a module of ours: by whom, of what, where."""

    by: str
    of: str
    line: int
    in_function: bool
    for_types: bool
    """Under ``if TYPE_CHECKING``: never executed."""

    def __str__(self) -> str:
        return f"{self.by} (line {self.line}) imports {self.of}"


def name_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(HOUSE.rglob("*.py"))}


def part_of(module: str) -> str:
    """``jumok.nn.attention`` -> ``nn``; the package itself and its entry point -> ``""``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else ""


@lru_cache
def parsed(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def modules_named(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules of ours that an import statement names, submodules resolved."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.split(".")[0] == "jumok"]
    if node.level:
        return [f"<relative import of {node.module}>"]
    base = node.module or ""
    if base.split(".")[0] != "jumok":
        return []
    return [f"{base}.{a.name}" if f"{base}.{a.name}" in FILES else base for a in node.names]


def imports_of(module: str) -> Iterator[Import]:
    tree = parsed(module)
    functions = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)]
    typing = [i for i in ast.walk(tree) if isinstance(i, ast.If) and is_type_checking(i.test)]
    in_function = {id(inner) for f in functions for inner in ast.walk(f)}
    for_types = {id(inner) for i in typing for inner in ast.walk(i)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in modules_named(node):
                yield Import(
                    module, name, node.lineno, id(node) in in_function, id(node) in for_types
                )


def is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


IMPORTS = [found for module in FILES for found in imports_of(module)]


def listed(lines: list[str]) -> str:
    return "\n" + "\n".join(lines)


def test_every_part_of_the_house_has_its_place() -> None:
    unplaced = sorted({part_of(m) for m in FILES} - set(LEVEL) - {""})
    assert not unplaced, f"give these a layer in LAYERS: {unplaced}"


def test_imports_only_look_down() -> None:
    wrong = []
    for one in IMPORTS:
        by, of = part_of(one.by), part_of(one.of)
        if by and (not of or (of != by and LEVEL[of] >= LEVEL[by])):
            wrong.append(str(one))
    assert not wrong, listed(wrong)


def test_imports_are_absolute() -> None:
    assert not [str(one) for one in IMPORTS if one.of.startswith("<relative")]


def test_every_module_imported_is_there() -> None:
    missing = [str(one) for one in IMPORTS if one.of not in FILES]
    assert not missing, listed(missing)


def test_no_module_of_ours_is_imported_inside_a_function() -> None:
    """Commands alone may: ``--help`` must not wait for torch."""
    allowed = ("jumok.interfaces.cli", "jumok.__main__")
    hidden = [str(x) for x in IMPORTS if x.in_function and not x.by.startswith(allowed)]
    assert not hidden, listed(hidden)


def test_there_is_no_cycle() -> None:
    run = [x for x in IMPORTS if not x.in_function and not x.for_types]
    needs = {m: {x.of for x in run if x.by == m} for m in FILES}
    left = dict(needs)
    while free := [m for m, of in left.items() if not (of & left.keys()) - {m}]:
        for module in free:
            del left[module]
    assert not left, f"modules in or above a cycle: {sorted(left)}"


BLOCKER = """
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Absent())
failed = []
for module in {modules!r}:
    try:
        importlib.import_module(module)
    except ImportError as error:
        failed.append(f"{{module}}: {{error}}")
print("\\n".join(failed))
sys.exit(bool(failed))
"""


def import_without(absent: tuple[str, ...], modules: list[str]) -> subprocess.CompletedProcess[str]:
    code = BLOCKER.format(absent=absent, modules=modules)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=SRC, check=False)


def test_everything_above_the_torch_line_imports_without_torch() -> None:
    above = [m for m in FILES if not part_of(m) or LEVEL[part_of(m)] <= TORCH_LINE]
    above = [m for m in above if not m.endswith("__main__")]
    done = import_without(ABSENT, above)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_block_does_block() -> None:
    assert import_without(ABSENT, ["torch"]).returncode == 1
    below = [m for m in FILES if part_of(m) == "models" and "import torch" in FILES[m].read_text()]
    if not below:
        pytest.skip("no model file yet")
    assert import_without(ABSENT, below[:1]).returncode == 1


def test_the_command_line_imports_without_torch() -> None:
    modules = [m for m in FILES if m.startswith("jumok.interfaces.cli")]
    done = import_without(("torch", "matplotlib", "sentencepiece", "numpy"), modules)
    assert done.returncode == 0, done.stdout + done.stderr


def reach(module: str) -> set[str]:
    """The files one has to open to read ``module`` to the bottom; ``VOCABULARY`` left out."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        here = waiting.pop()
        for one in (x.of for x in IMPORTS if x.by == here):
            if one in FILES and one not in seen:
                seen.add(one)
                waiting.append(one)
    known = {m for m in seen if FILES[m].name == "__init__.py" or part_of(m) in VOCABULARY}
    return seen - known - {module, *BOOKKEEPING}


def line_count(module: str) -> int:
    return len(FILES[module].read_text(encoding="utf-8").splitlines())


def paper_files() -> list[str]:
    """One paper, one file: those of models/ that build a network, not the shared contract."""
    return [
        m
        for m in FILES
        if part_of(m) == "models"
        and FILES[m].name != "__init__.py"
        and any(isinstance(node, ast.ClassDef) for node in parsed(m).body)
        and not m.endswith(".contract")
    ]


def test_a_model_can_be_read_top_to_bottom() -> None:
    rows = [(m, line_count(m), sorted(reach(m))) for m in paper_files()]
    for module, lines, files in rows:
        print(f"{module:40} {lines:4} lines, reach {len(files):2}: {', '.join(files)}")
    long = [f"{m}: {n} lines" for m, n, _ in rows if n > MODEL_LINES]
    far = [f"{m}: reach {len(f)}: {f}" for m, _, f in rows if len(f) > MODEL_REACH]
    assert not long + far, listed(long + far)


def test_no_file_is_too_long_to_read() -> None:
    long = [f"{m}: {line_count(m)} lines" for m in FILES if line_count(m) > FILE_LINES]
    assert not long, listed(long)


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, which may be as long as it is useful."""
    first = function.body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    doc = (first.end_lineno or 0) - first.lineno + 1 if text else 0
    return (function.end_lineno or 0) - function.lineno + 1 - doc


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{m}.{f.name}: {length_of(f)} lines"
        for m in FILES
        for f in ast.walk(parsed(m))
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) and length_of(f) > FUNCTION_LINES
    ]
    assert not long, listed(long)


def test_every_module_opens_with_a_caption() -> None:
    bare = [m for m in FILES if not ast.get_docstring(parsed(m))]
    assert not bare, f"without a docstring: {bare}"
