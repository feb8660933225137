"""Configurations that somebody else wrote: plain values, or one sentence."""

from __future__ import annotations

import time
from typing import Any

import pytest

from plateau_lens import ConfigError, load_config
from plateau_lens.runs.config import parse_assignment
from plateau_lens.runs.yaml_reading import MOST_VALUES, plain, read_yaml

MINIMAL: dict[str, Any] = {"model": {"source": "m"}, "kinds": ["random"]}


def bomb() -> str:
    """Ten lines that stand for 9^9 values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{now}: &{now} [{', '.join([f'*{before}'] * 9)}]"
        for before, now in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pairs: 1\npairs: 2", "the key 'pairs' stands there twice"),
        ("{a: {b: 1, b: 2}}", "the key 'b' stands there twice"),
        (bomb(), f"more than {MOST_VALUES:,} values"),
        ("&a [*a]", f"more than {MOST_VALUES:,} values"),
        ("[" * 500, "nested too deeply"),
        ("2024-13-45", "not readable as YAML: month must be in 1..12"),
        ("0x_", "not readable as YAML"),
        ("9" * 5000, "not readable as YAML"),
        ("2024-01-01", "is a date; write it in quotes"),
        (".nan", "is nan; a configuration has finite numbers alone"),
        ("{a: {b: [-.inf]}}", r"a\.b\[0\] is -inf"),
        ("1" + "0" * 30, "more than 64 bits"),
        ("1: 2", "has the key 1, which is no text"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("!!binary aGk=", "is a bytes"),
        ("!!set {a}", "is a set"),
        ("!!timestamp x", "not readable as YAML"),
        ("? [a]\n: 1", "not readable as YAML"),
        ('"\\e[31mred"', "holds control characters"),
        ("'", "not readable as YAML"),
        ("x" * 1_000_001, "more than the 1,000,000"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_what_is_no_plain_value_is_one_sentence(text: str, said: str) -> None:
    since = time.process_time()
    with pytest.raises(ConfigError, match=said):
        read_yaml(text, "it")
    assert time.process_time() - since < 5


def test_plain_values_and_ordinary_aliases_are_read() -> None:
    text = "a: &x {b: 1, c: [true, null, 0.5]}\nd: *x\ne: {<<: *x, b: 2}"
    once = {"b": 1, "c": [True, None, 0.5]}
    assert read_yaml(text, "it") == {"a": once, "d": once, "e": {"c": [True, None, 0.5], "b": 2}}
    assert read_yaml("", "it") is None
    assert parse_assignment("a=[x, 1]") == ("a", ["x", 1])


def test_a_mapping_in_python_is_held_to_the_same() -> None:
    with pytest.raises(ConfigError, match=r"kinds\.random\.scale is nan"):
        load_config({**MINIMAL, "kinds": {"random": {"scale": float("nan")}}})
    with pytest.raises(ConfigError, match="is inf"):
        load_config(MINIMAL, {"statistics.ap.threshold": float("inf")})
    assert plain({"a": (1, 2)}, "it") == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"pairs": 10**9}, "pairs: Input should be less than or equal to 1000000"),
        ({"n_steps": 10**9}, "n_steps"),
        ({"seed": 2**63 - 1, "step_size": 1e-40}, "step_size"),
        ({"step_size": 1e35}, "step_size"),
        ({"name": "x" * 101}, "a name has 1 to 100 characters"),
        ({"name": "two\nlines"}, "a name has 1 to 100 characters in one line"),
        ({"kinds": {" ": {"kind": "random"}}}, "is not blank"),
        ({"statistics": {"../../ms": {"statistic": "ms"}}}, r"has no / or \\, and begins with no full stop"),
        ({"experiments": {"a/b": {"experiment": "toward"}}}, r"has no / or \\"),
        ({"responses": {"pair": {"response": "l2"}}}, "'pair' is what another column of curves is called"),
    ],
)
def test_what_no_run_can_use_is_refused_before_anything_is_planned(
    override: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(MINIMAL, override)
