"""`convention: notebook` is shorthand for keys that can each be set alone."""

from __future__ import annotations

from typing import Any

import pytest

from plateau_lens import ConfigError, load_config
from plateau_lens.runs.convention import CONVENTIONS

TABLE: dict[str, Any] = {
    "model": {"source": "gpt2"},
    "kinds": ["model-generated", "random", "synthetic-baseline"],
    "step_size": 0.5,
}


def test_paper_is_what_the_defaults_are():
    assert load_config(TABLE, {"convention": "paper"}) == load_config(TABLE)


def test_notebook_changes_what_its_table_says_and_nothing_else():
    paper, notebook = load_config(TABLE), load_config(TABLE, {"convention": "notebook"})
    assert notebook.n_steps == 99  # 100 points, ends included
    assert notebook.step_size == pytest.approx(50 / 99)  # 0.50505
    assert notebook.cut_size == 0.5
    assert [notebook.statistics[name] for name in ("ms", "auc", "nl-value")] == [
        {"convention": "notebook"}
    ] * 3
    assert notebook.kinds["random"] == {"divisor": "n"}
    assert notebook.kinds["synthetic-baseline"] == {"dead": "included", "collisions": "overwrite"}
    same = set(type(paper).model_fields) - {"n_steps", "step_size", "cut_size", "statistics", "kinds"}
    assert all(getattr(paper, key) == getattr(notebook, key) for key in same)


def test_what_is_set_by_hand_stands_and_sizes_are_converted():
    made = load_config(
        TABLE, {"convention": "notebook", "statistics.ms": "paper", "n_steps": 51, "step_size": 1.0}
    )
    found = [made.statistics[name]["convention"] for name in ("ms", "auc")]
    assert (*found, made.n_steps) == ("paper", "notebook", 50)
    assert (made.step_size, made.cut_size) == (pytest.approx(51 / 50), 1.0)
    made = load_config(TABLE, {"convention": "notebook", "kinds": ["random"]})
    assert made.kinds["random"] == {"divisor": "n"}
    labelled = {**TABLE, "convention": "notebook", "kinds": {"gauss": {"kind": "random", "divisor": "n-1"}}}
    assert load_config(labelled).kinds["gauss"]["divisor"] == "n-1"


def test_an_automatic_step_size_stays_automatic():
    table = {key: value for key, value in TABLE.items() if key != "step_size"}
    made = load_config(table, {"convention": "notebook"})
    assert (made.step_size, made.cut_size) == ("auto", None)


def test_an_unknown_convention_names_the_nearest():
    assert CONVENTIONS == ("paper", "notebook")
    with pytest.raises(ConfigError, match="did you mean 'notebook'"):
        load_config(TABLE, {"convention": "notebok"})
