"""Which kinds are described by their codes, in a run and outside: those that return any."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens import ConfigError, Kind, PairBlock, kind, load_config, run
from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.registry import Activations, make_kinds

WITH_CODES = (
    "latent-swap",
    "sae-reconstruction",
    "shuffled-decoder",
    "single-latent",
    "synthetic-baseline",
    "synthetic-structured",
)
PROPERTIES = ["active", "top_share", "top_cosine", "log10_frequency"]


@pytest.fixture
def block(lab: Any, random_codes: list[dict[int, float]]) -> PairBlock:
    return lab.block(lab.activation(*random_codes))


@pytest.mark.parametrize("name", WITH_CODES)
def test_what_is_decoded_comes_with_its_codes(name: str, block: PairBlock):
    made = make_kinds({name: {}})[name].make(block, "x")
    assert made.code is not None
    assert torch.equal(made.activation, block.latents.decode(made.code))


@pytest.mark.parametrize("name", ["random", "isotropic", "covariance-mixture", "random-dictionary"])
def test_what_no_decoder_made_has_none(name: str, block: PairBlock):
    assert make_kinds({name: {}})[name].make(block, "x").code is None


def test_model_generated_activations_are_encoded_where_there_is_an_sae(block: PairBlock, lab: Any):
    made = make_kinds({"model-generated": {}})["model-generated"]
    code = made.make(block, "x").code
    assert code is not None
    assert torch.equal(code, lab.dictionary.encode(block.other))
    assert made.make(dataclasses.replace(block, dictionary=None), "x").code is None


@pytest.fixture
def own_run(tiny_model_folder: Path, tiny_sae_folder: Path, tmp_path: Path, kinds_put_back: None) -> Any:
    """A run of the given kinds, one path of 3 pairs each."""

    def of(*kinds: str, **changes: Any) -> Any:
        table = {
            "model": {"source": str(tiny_model_folder)},
            "sae": {"source": str(tiny_sae_folder)},
            "prompts": {"source": "sampled", "population": 30, "n_ctx": 6},
            "pairs": 3,
            "n_steps": 10,
            "experiments": ["toward"],
            "schedules": ["relative"],
            "responses": ["l2"],
            "kinds": list(kinds),
        }
        return run(load_config({**table, **changes}), tmp_path / "run", report=False)

    return of


def test_a_kind_of_ones_own_is_described_by_the_codes_it_returns(own_run: Any):
    @kind("first-three")
    class FirstThree(Kind):
        def draw(self, block: PairBlock, purpose: str) -> Activations:
            code = torch.zeros_like(block.code)
            code[:, :3] = torch.tensor([2.0, 1.0, 1.0])
            return Activations(block.latents.decode(code), code)

    @kind("noisy")
    class Noisy(CodeKind):
        def code_of(self, block: PairBlock, purpose: str) -> torch.Tensor:
            return block.code

        def draw(self, block: PairBlock, purpose: str) -> torch.Tensor:
            return super().draw(block, purpose).activation + 1

    kind("halfway")(lambda block: (block.base + block.other) / 2)
    codes = own_run("first-three", "noisy", "halfway").codes()
    rows = {name: codes.filter(codes["kind"] == name).select(PROPERTIES).to_numpy() for name in codes["kind"]}
    assert rows["first-three"][:, :2].tolist() == [[3, 0.5]] * 3
    assert np.isfinite(rows["first-three"]).all()
    assert np.isnan(rows["noisy"]).all(), "its own way from code to activation counts"
    assert np.isnan(rows["halfway"]).all()


def test_codes_of_another_width_are_refused(own_run: Any):
    kind("narrow")(lambda block: Activations(block.base, block.code[:, :7]))
    with pytest.raises(
        ConfigError, match=r"kind 'narrow' returned torch.float32 \(3, 7\), .*\(3, 300\) \(pair, d_sae\)"
    ):
        own_run("narrow")


def test_codes_in_a_run_without_an_sae_are_refused(own_run: Any):
    kind("lost")(lambda block: Activations(block.base, block.base))
    with pytest.raises(ConfigError, match=r"the run has no sae; set sae\.source"):
        own_run("lost", sae=None)
