from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from plateau_lens import ConfigError, Kind, PairBlock, activations, kind
from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import KINDS, Activations, kinds, make_kinds

pytestmark = pytest.mark.usefixtures("kinds_put_back")


@pytest.fixture
def block() -> PairBlock:
    base = torch.arange(12.0).reshape(3, 4)
    return PairBlock(
        pair=torch.arange(3).numpy(),
        base=base,
        other=base.flip(0),
        population=Population(base, 0),
        dictionary=None,
        top_cosine=float("nan"),
        seed=0,
    )


def test_what_comes_with_the_library():
    assert {
        "model-generated",
        "random",
        "synthetic-baseline",
        "synthetic-structured",
        "sae-reconstruction",
        "latent-swap",
        "single-latent",
        "isotropic",
        "shuffled-decoder",
        "random-dictionary",
        "covariance-mixture",
    } <= set(kinds())


def test_a_function_becomes_a_kind(block: PairBlock):
    @kind("halfway")
    def halfway(block: PairBlock) -> torch.Tensor:
        """Half of the way."""
        return (block.base + block.other) / 2

    made = make_kinds({"halfway": {}})["halfway"]
    assert isinstance(made, Kind)
    assert not made.needs_sae
    assert made.__doc__ == "Half of the way."
    found = made.make(block, "x")
    assert torch.equal(found.activation, (block.base + block.other) / 2)
    assert found.code is None
    assert torch.equal(halfway(block), found.activation), "the decorated name stays the function"


def test_a_function_may_return_codes_as_well(block: PairBlock):
    kind("coded")(lambda block: Activations(block.base, block.other))
    made = make_kinds({"coded": {}})["coded"].make(block, "x")
    assert torch.equal(made.activation, block.base)
    assert made.code is block.other


def test_a_subclass_with_parameters_under_two_labels(block: PairBlock):
    @kind("scaled")
    class Scaled(Kind):
        """The base, scaled."""

        factor: float = 2.0

        def draw(self, block: PairBlock, purpose: str) -> torch.Tensor:
            return self.factor * block.base

    made = make_kinds({"scaled": {}, "far": {"kind": "scaled", "factor": 10}})
    assert torch.equal(made["scaled"].make(block, "x").activation, 2 * block.base)
    assert torch.equal(made["far"].make(block, "x").activation, 10 * block.base)


def test_the_last_one_stands(block: PairBlock):
    @kind("mine")
    def first(block: PairBlock) -> torch.Tensor:
        return block.base

    @kind("mine")
    def second(block: PairBlock) -> torch.Tensor:
        return block.other

    assert torch.equal(make_kinds({"mine": {}})["mine"].make(block, "x").activation, block.other)


def test_a_built_in_name_may_be_taken_before_the_built_in_ones_are_looked_for(
    block: PairBlock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(KINDS, "_complete", False)
    monkeypatch.delitem(sys.modules, "plateau_lens.activations.random")
    kind("random")(lambda block: block.other)
    assert torch.equal(make_kinds({"random": {}})["random"].make(block, "x").activation, block.other)


def test_a_file_in_the_folder_is_a_new_kind(
    block: PairBlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mirrored.py").write_text(
        "from plateau_lens import Kind, kind\n\n\n@kind('mirrored')\nclass Mirrored(Kind):\n"
        "    def draw(self, block, purpose):\n        return -block.base\n"
    )
    assert "mirrored" not in kinds()
    monkeypatch.setattr(activations, "__path__", [*activations.__path__, str(tmp_path)])
    monkeypatch.setattr(KINDS, "_complete", False)
    try:
        made = make_kinds({"mirrored": {}})["mirrored"]
    finally:
        sys.modules.pop("plateau_lens.activations.mirrored", None)
    assert made.name == "mirrored"
    assert torch.equal(made.make(block, "x").activation, -block.base)


def test_unknown_kinds_and_parameters_are_all_named_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        make_kinds(
            {
                "randon": {},
                "mine": {"kind": "synthetic-base"},
                "synthetic-structured": {"top_cosin": 0.4},
                "synthetic-baseline": {"match": "freqency", "neighbours": "ten"},
                "random": {"seed": 3},
            }
        )
    message = str(caught.value)
    assert "unknown kind 'randon'; did you mean 'random'?" in message
    assert "unknown kind 'synthetic-base'; did you mean 'synthetic-baseline'?" in message
    assert "kinds.synthetic-structured.top_cosin:" in message
    assert "did you mean 'top_cosine'?" in message
    assert "kinds.synthetic-baseline.match:" in message
    assert "'frequency' or 'none'" in message
    assert "kinds.synthetic-baseline.neighbours:" in message
    assert "kinds.random.seed:" in message
    assert "(parameters: norm, divisor, rows)" in message


@pytest.mark.parametrize("name", ["synthetic-baseline", "synthetic-structured"])
@pytest.mark.parametrize("neighbours", [0, -3])
def test_neighbours_have_to_be_positive(name: str, neighbours: int):
    with pytest.raises(ConfigError, match=f"{name}.neighbours"):
        make_kinds({name: {"neighbours": neighbours}})


@pytest.mark.parametrize(
    "name",
    [
        "synthetic-baseline",
        "synthetic-structured",
        "sae-reconstruction",
        "latent-swap",
        "single-latent",
        "shuffled-decoder",
        "random-dictionary",
    ],
)
def test_kinds_of_latents_say_that_they_need_an_sae(name: str, block: PairBlock):
    made = make_kinds({name: {}})[name]
    assert made.needs_sae
    with pytest.raises(ConfigError, match=r"made of SAE latents, but the run has no sae; set sae\.source"):
        made.make(block if name != "synthetic-structured" else _with_cosine(block), "x")


def _with_cosine(block: PairBlock) -> PairBlock:
    return dataclasses.replace(block, top_cosine=0.4)
