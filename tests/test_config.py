"""Configuration: strict reading, messages that help, and a TOML that comes back unchanged."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jumok import config
from jumok.config.values import read_value
from jumok.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Optim:
    """How the weights move."""

    lr: float = 1e-3
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the two averages,
    first and second moment."""
    clip: float | None = 1.0
    """Global norm the gradient is clipped to."""


@dataclass(frozen=True, kw_only=True)
class Data:
    unit: Literal["char", "jamo", "word"] = "char"
    """What a symbol is."""
    dev: str | None = None
    """A file of development pairs."""
    columns: tuple[int, ...] = (1, 2)
    budget: int | Literal["auto"] = "auto"
    bits: bool = False


@dataclass(frozen=True, kw_only=True)
class Tiny:
    hidden_size: int = 7
    num_heads: int = 1

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_heads:
            raise ConfigError(
                f"`hidden_size` ({self.hidden_size}) must be divisible by "
                f"`num_heads` ({self.num_heads}).",
                hint="choose another.",
            )


@dataclass(frozen=True, kw_only=True)
class Run:
    seed: int = 0
    """The seed of everything."""
    model: Any = None
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=lambda: Optim(lr=5e-4))


TYPES = {"model": Tiny}


def read(mapping: dict[str, Any], **rest: Any) -> Run:
    return config.from_dict(Run, mapping, types=TYPES, **rest)


def message(mapping: dict[str, Any], **rest: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(mapping, **rest)
    return str(caught.value)


def test_missing_keys_have_their_defaults_and_those_of_the_enclosing_default() -> None:
    run = read({"optim": {"clip": 2}})
    assert run == Run(model=Tiny(), optim=Optim(lr=5e-4, clip=2.0))
    assert type(run.optim.clip) is float


def test_an_unknown_key_is_answered_with_the_nearest_one() -> None:
    assert message({"model": {"hiden_size": 3}}) == (
        "unknown key model.hiden_size. Did you mean model.hidden_size?"
    )
    assert message({"sed": 3}, where="my.toml") == "my.toml: unknown key sed. Did you mean seed?"
    assert message({"zzz": 3}) == "unknown key zzz."
    assert message({"optm": {"lr": 1}}) == "unknown section [optm]. Did you mean [optim]?"


def test_a_key_in_the_wrong_section_is_told_its_place() -> None:
    assert message({"model": {"lr": 3}}) == "lr belongs to [optim], not to [model]."
    assert message({"lr": 3}) == "lr belongs to [optim], not to the top level."
    assert message({"optim": {"seed": 3}}) == "seed belongs to the top level, not to [optim]."


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"seed": 1.5}, "seed: expected a whole number, got 1.5."),
        ({"seed": True}, "seed: expected a whole number, got true."),
        ({"optim": {"lr": "fast"}}, 'optim.lr: expected a number, got "fast".'),
        ({"optim": {"clip": "x"}}, 'optim.clip: expected a number or none, got "x".'),
        ({"optim": {"betas": [1]}}, "optim.betas: expected a list of 2: a number, a number"),
        ({"data": {"bits": 1}}, "data.bits: expected true or false, got 1."),
        ({"data": {"columns": ["a"]}}, "data.columns: expected a list of whole numbers"),
        (
            {"data": {"unit": "jammo"}},
            'data.unit: expected one of char, jamo, word, got "jammo". Did you mean jamo?',
        ),
        ({"data": {"budget": "aut"}}, "data.budget: expected a whole number or one of auto, got"),
        ({"data": 3}, "[data] is a section of keys, got 3."),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_what_came(
    mapping: dict[str, Any], said: str
) -> None:
    assert message(mapping).startswith(said)


def test_what_a_class_refuses_is_told_with_its_section_and_file() -> None:
    text = message({"model": {"hidden_size": 100, "num_heads": 8}}, where="my.toml")
    assert text == (
        "my.toml: [model] `hidden_size` (100) must be divisible by `num_heads` (8).\n"
        "  hint: choose another."
    )


def test_a_required_key_is_asked_for() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Needs:
        vocabulary_size: int

    with pytest.raises(ConfigError, match=r"the key model.vocabulary_size is required"):
        config.from_dict(Needs, {}, section="model")
    assert config.explain(Needs)[0].default is MISSING


def test_flags_are_read_by_the_type_of_their_field() -> None:
    flags = {
        "optim.lr": "3e-4",
        "optim.betas": "0.5, 0.9",
        "optim.clip": "none",
        "data.unit": "word",
        "data.columns": "2,1",
        "data.budget": "512",
        "data.bits": "yes",
        "data.dev": "007",
        "model.hidden_size": "11",
    }
    run = config.build(Run, flags=flags, types=TYPES)
    assert run.optim == Optim(lr=3e-4, betas=(0.5, 0.9), clip=None)
    assert run.data == Data(unit="word", columns=(2, 1), budget=512, bits=True, dev="007")
    assert run.model == Tiny(hidden_size=11)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("model.hiden", "3", "unknown option --model.hiden. Did you mean --model.hidden_size?"),
        (
            "modle.hidden_size",
            "3",
            "unknown option --modle.hidden_size: hidden_size belongs to [mod",
        ),
        ("model.lr", "3", "unknown option --model.lr: lr belongs to [optim], not to [model]."),
        ("optim", "3", "--optim is a section; name a key of it, such as --optim.lr."),
        ("optim.lr", "abc", '--optim.lr: expected a number, got "abc".'),
        ("seed", "1e3", '--seed: expected a whole number, got "1e3".'),
        ("data.bits", "maybe", '--data.bits: expected true or false, got "maybe".'),
    ],
)
def test_a_wrong_flag_is_told_as_it_was_written(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.build(Run, flags={name: text}, types=TYPES)
    assert str(caught.value).startswith(said)


def test_the_narrowest_type_of_several_is_tried_first() -> None:
    assert read_value("3", str | int, text=True) == 3
    assert read_value("auto", str | int, text=True) == "auto"
    assert read_value("none", str | int | None, text=True) is None
    assert read_value("3", Literal["3"] | int, text=True) == "3"


def test_flags_win_over_the_file_over_the_preset_over_the_defaults() -> None:
    preset = {"seed": 2, "optim": {"lr": 2.0, "clip": 2.0}}
    file = {"optim": {"lr": 3.0, "clip": 3.0}, "data": {"unit": "word"}}
    run = config.build(Run, preset=preset, file=file, flags={"optim.lr": "4"}, types=TYPES)
    assert (run.seed, run.optim.lr, run.optim.clip, run.data.unit) == (2, 4.0, 3.0, "word")
    assert run.optim.betas == (0.9, 0.98)


def test_only_the_merged_whole_must_be_legal() -> None:
    file = {"model": {"num_heads": 8}}
    run = config.build(Run, file=file, flags={"model.hidden_size": "16"}, types=TYPES)
    assert run.model == Tiny(hidden_size=16, num_heads=8)


def test_override_changes_the_named_fields_alone() -> None:
    run = read({"data": {"unit": "jamo"}, "model": {"hidden_size": 11}})
    changed = config.override(run, {"optim.lr": "3e-4", "model.hidden_size": "13"})
    expected = replace(run, optim=replace(run.optim, lr=3e-4), model=Tiny(hidden_size=13))
    assert changed == expected


def test_toml_carries_documentation_choices_and_the_name_of_the_model() -> None:
    text = config.to_toml(read({}), names={"model": "tiny"})
    assert "# The seed of everything. (a whole number)\nseed = 0\n" in text
    assert '[model]\nname = "tiny"\n' in text
    assert "# How the weights move.\n[optim]\n" in text
    assert "# Decay of the two averages, first and second moment. (a list of 2:" in text
    assert '# What a symbol is. (one of char, jamo, word)\nunit = "char"\n' in text
    assert '# A file of development pairs. (text or none)\ndev = "none"\n' in text


plain_text = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda s: s != "none")
runs = st.builds(
    Run,
    seed=st.integers(-(2**63), 2**63 - 1),
    model=st.builds(Tiny, hidden_size=st.integers(1, 99), num_heads=st.just(1)),
    data=st.builds(
        Data,
        unit=st.sampled_from(["char", "jamo", "word"]),
        dev=st.none() | plain_text,
        columns=st.lists(st.integers(0, 9)).map(tuple),
        budget=st.just("auto") | st.integers(0, 99),
        bits=st.booleans(),
    ),
    optim=st.builds(
        Optim,
        lr=st.floats(allow_nan=False),
        betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
        clip=st.none() | st.floats(allow_nan=False),
    ),
)


@given(run=runs, comments=st.booleans())
def test_toml_comes_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, run: Run, comments: bool
) -> None:
    path = tmp_path_factory.mktemp("toml") / "my.toml"
    path.write_text(config.to_toml(run, comments=comments), encoding="utf-8", newline="")
    again = config.from_dict(Run, config.read_toml(path), types=TYPES)
    assert again == run
    assert config.digest(again) == config.digest(run)


def test_text_that_would_read_back_as_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="stands for no value"):
        config.to_toml(Data(dev="none"))


def test_not_a_number_survives_toml(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(config.to_toml(Optim(lr=math.nan)))
    assert math.isnan(config.from_dict(Optim, config.read_toml(tmp_path / "x.toml")).lr)


def test_equal_configurations_have_equal_digests_and_others_do_not() -> None:
    assert config.digest(Optim()) == config.digest(Optim(lr=0.001))
    assert config.digest(Optim()) != config.digest(Optim(lr=0.002))
    assert len(config.digest(Optim())) == 64


def test_a_file_that_is_no_toml_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("seed = 1\nunit = char\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.read_toml(path)
    assert str(caught.value).startswith(f"{path}:2: Invalid value.\n  | unit = char\n  hint: text")
    path.write_bytes(b"seed = 1\n# \xff\n")
    with pytest.raises(ConfigError, match=r":2: this is not UTF-8"):
        config.read_toml(path)
    path.write_bytes(b"\xef\xbb\xbfseed = 1\r\n")
    assert config.read_toml(path) == {"seed": 1}


def test_a_file_that_is_not_there_is_told_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.read_toml(tmp_path / "no.toml")
    assert str(caught.value) == (
        f"{tmp_path}/no.toml: there is no such configuration file.\n"
        "  hint: jumok init > my.toml writes one with every key."
    )
    with pytest.raises(ConfigError, match="cannot be read"):
        config.read_toml(tmp_path)


def test_explain_lists_every_field_by_its_dotted_name() -> None:
    entries = {e.name: e for e in config.explain(Run, types=TYPES)}
    assert list(entries)[:3] == ["seed", "model.hidden_size", "model.num_heads"]
    assert entries["optim.lr"].default == 5e-4
    assert entries["optim.lr"].doc == "Peak learning rate."
    assert entries["optim.clip"].type_text == "a number or none"
    assert entries["data.columns"].type_text == "a list of whole numbers"
