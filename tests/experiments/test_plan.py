from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from plateau_lens import RunConfig, load_config
from plateau_lens.execution.plan import Unit, plan


def config(**changes: Any) -> RunConfig:
    table = {
        "model": {"source": "nowhere"},
        "kinds": ["model-generated", "random"],
        "prompts": {"population": 40},
        "pairs": 17,
        "examples": {"bases": 3, "targets": 5},
    }
    return load_config({**table, **changes})


def rows(units: list[Unit], *, examples: bool) -> list[tuple[int, int, int]]:
    return [
        row
        for unit in units
        if (unit.experiments == ("examples",)) == examples
        for row in zip(unit.pair, unit.prompt, unit.pairs.hop, strict=True)
    ]


@pytest.mark.parametrize("unit_size", [1, 4, 5, 17, 100])
def test_every_pair_once_however_it_is_cut(unit_size: int):
    units = plan(config(unit_size=unit_size))
    assert rows(units, examples=False) == [(i, i, 1) for i in range(17)]
    assert rows(units, examples=True) == rows(plan(config()), examples=True)
    assert [unit.index for unit in units] == list(range(len(units)))
    assert all(len(unit.pair) <= unit_size for unit in units if unit.experiments != ("examples",))
    pairs = [pair for unit in units for pair in unit.pair]
    assert len(set(pairs)) == len(pairs)


def test_examples_push_a_base_toward_several_others():
    found = rows(plan(config()), examples=True)
    assert [(prompt, hop) for _, prompt, hop in found] == [(b, t) for b in range(3) for t in range(1, 6)]
    assert [pair for pair, _, _ in found] == list(range(17, 17 + 15))


def test_examples_never_reach_round_to_their_own_prompt():
    found = rows(plan(config(pairs=3, prompts={"population": 4})), examples=True)
    assert {hop for _, _, hop in found} == {1, 2, 3}


def test_experiments_that_were_asked_for():
    assert {unit.experiments for unit in plan(config(experiments=["from"]))} == {("from",)}
    assert {unit.experiments for unit in plan(config(experiments=["examples"]))} == {("examples",)}
    assert {unit.experiments for unit in plan(config())} == {("toward", "from"), ("examples",)}


def test_fewer_pairs_than_example_bases():
    assert {prompt for _, prompt, _ in rows(plan(config(pairs=2)), examples=True)} == {0, 1}


def test_a_plan_is_pure_data():
    one, other = plan(config()), plan(config())
    assert one == other
    pair, prompt, hop = one[0].arrays()
    assert pair.tolist() == list(one[0].pair)
    assert prompt.tolist() == list(one[0].prompt)
    assert hop.tolist() == list(one[0].pairs.hop)


def test_planning_loads_no_torch():
    code = (
        "import sys\n"
        "from plateau_lens.execution.plan import plan\n"
        "from plateau_lens import load_config\n"
        "assert plan(load_config('smollm2-135m'))\n"
        "print([name for name in ('torch', 'transformers', 'sae_lens', 'polars') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
