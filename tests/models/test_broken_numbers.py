"""NaN and infinity in weights, SAEs and activations: refused by name where they would be in every number."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plateau_lens import EngineError, ResourceError, SuffixEngine, load_dictionary, load_model
from plateau_lens.execution.soundness import norms_of


def changed(folder: Path, to: Path, file: str, name: str, value: float) -> Path:
    """A copy of a folder in whose weights one number is another."""
    copy = Path(shutil.copytree(folder, to))
    weights = load_file(copy / file)
    weights[name].view(-1)[3] = value
    save_file(weights, copy / file, metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("name", ["model.layers.2.mlp.up_proj.weight", "lm_head.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_checkpoint_with_a_weight_that_is_not_finite(
    tiny_model_folder: Path, tmp_path: Path, name: str, value: float
) -> None:
    if name not in load_file(tiny_model_folder / "model.safetensors"):
        pytest.skip("the head is tied")
    folder = changed(tiny_model_folder, tmp_path / "model", "model.safetensors", name, value)
    with pytest.raises(ResourceError, match=rf"NaN or infinite in float32 \({name}\)"):
        load_model(str(folder))


def test_a_model_in_memory_is_not_said_to_have_a_mask_of_its_own(make_tiny_model: Callable[..., Any]) -> None:
    model = make_tiny_model("llama")
    with torch.no_grad():
        model.model.layers[2].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(EngineError, match=r"NaN or infinite: model\.layers\.2\.mlp\.up_proj\.weight"):
        SuffixEngine(model)


def test_finite_weights_whose_products_are_not(make_tiny_model: Callable[..., Any]) -> None:
    model = make_tiny_model("llama")
    with torch.no_grad():
        model.model.layers[2].mlp.up_proj.weight *= 1e30
        model.model.layers[2].mlp.down_proj.weight *= 1e30
    with pytest.raises(EngineError, match="too large for its dtype, so choose a wider one"):
        SuffixEngine(model)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_an_sae_with_a_weight_that_is_not_finite(tiny_sae_folder: Path, tmp_path: Path, value: float) -> None:
    folder = changed(tiny_sae_folder, tmp_path / "sae", "sae_weights.safetensors", "b_enc", value)
    with pytest.raises(ResourceError, match=r"weights that are NaN or infinite \(b_enc\)"):
        load_dictionary(str(folder))


@pytest.mark.parametrize("value", [float("nan"), 0.5])
def test_firing_frequencies_that_are_no_shares(
    tiny_sae_with_sparsity_folder: Path, tmp_path: Path, value: float
) -> None:
    folder = changed(
        tiny_sae_with_sparsity_folder, tmp_path / "sae", "sparsity.safetensors", "sparsity", value
    )
    with pytest.raises(ResourceError, match=r"no log10 of shares \(NaN, or above 0\)"):
        load_dictionary(str(folder))


def test_an_sae_of_attention_heads(
    tiny_sae_folder: Path, tmp_path: Path, edit_json: Callable[..., None]
) -> None:
    folder = Path(shutil.copytree(tiny_sae_folder, tmp_path / "sae"))
    edit_json(folder / "cfg.json", reshape_activations="hook_z")
    with pytest.raises(ResourceError, match=r"of attention heads \(hook_z\), not of the residual stream"):
        load_dictionary(str(folder))


class TestPopulation:
    def test_one_like_the_other(self) -> None:
        # |(3, 4)| = 5, and twice that.
        found = norms_of(torch.tensor([[3.0, 4.0], [-3.0, 4.0], [6.0, 8.0]]), "here")
        assert tuple(found) == (5.0, 10.0, 0)
        assert found.lines() == []

    def test_an_activation_of_100_times_the_median_norm(self) -> None:
        activations = torch.ones(5, 4) * torch.tensor([1.0, 1.0, 2.0, 99.9, 200.0])[:, None]
        activations[1] *= -1
        # Norms 2, 2, 4, 199.8 and 400; the median is 4, and 100 times that is 400.
        found = norms_of(activations, "here")
        assert found.outliers == 1
        assert (
            "1 of their activations have 100 times the median norm of 4 or more, up to 400"
            in found.lines()[0]
        )

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_not_finite_is_refused(self, value: float) -> None:
        activations = torch.eye(4)
        activations[2, 1] = value
        with pytest.raises(
            ResourceError, match="1 of 4 prompts, the first of them 2, have an activation that is NaN"
        ):
            norms_of(activations, "here")

    def test_all_the_same_is_refused(self) -> None:
        with pytest.raises(ResourceError, match="all 3 prompts have the same activation at here"):
            norms_of(torch.ones(3, 4), "here")
