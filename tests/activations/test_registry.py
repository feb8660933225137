from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from plateau_lens import ConfigError, Kind, PairBlock, kind
from plateau_lens.activations import registry
from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import kinds, make_kinds


@pytest.fixture(autouse=True)
def _registry_put_back() -> Iterator[None]:
    kinds()
    before = dict(registry._REGISTRY)
    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(before)


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
    assert torch.equal(made.draw(block, "x"), (block.base + block.other) / 2)
    assert torch.equal(halfway(block), made.draw(block, "x")), "the decorated name stays the function"


def test_a_subclass_with_parameters_under_two_labels(block: PairBlock):
    @kind("scaled")
    class Scaled(Kind):
        """The base, scaled."""

        factor: float = 2.0

        def draw(self, block: PairBlock, purpose: str) -> torch.Tensor:
            return self.factor * block.base

    made = make_kinds({"scaled": {}, "far": {"kind": "scaled", "factor": 10}})
    assert torch.equal(made["scaled"].draw(block, "x"), 2 * block.base)
    assert torch.equal(made["far"].draw(block, "x"), 10 * block.base)


def test_the_last_one_stands(block: PairBlock):
    @kind("mine")
    def first(block: PairBlock) -> torch.Tensor:
        return block.base

    @kind("mine")
    def second(block: PairBlock) -> torch.Tensor:
        return block.other

    assert torch.equal(make_kinds({"mine": {}})["mine"].draw(block, "x"), block.other)


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
    assert "(parameters: divisor)" in message


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
        made.draw(block if name != "synthetic-structured" else _with_cosine(block), "x")


def _with_cosine(block: PairBlock) -> PairBlock:
    import dataclasses

    return dataclasses.replace(block, top_cosine=0.4)
