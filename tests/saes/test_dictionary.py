from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens import Dictionary, PairBlock, ResourceError, load_dictionary
from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import make_kinds
from plateau_lens.models.quiet import quiet
from plateau_lens.saes.firing import Firing


@pytest.fixture(scope="module")
def dictionary(tiny_sae_folder: Path) -> Dictionary:
    return load_dictionary(str(tiny_sae_folder))


@pytest.fixture(scope="module")
def own_sae(tiny_sae_folder: Path) -> Any:
    with quiet():
        from sae_lens import SAE

        return SAE.load_from_disk(tiny_sae_folder)


def test_encode_and_decode_are_saelens_own(
    dictionary: Dictionary, own_sae: Any, tiny_activations: torch.Tensor
):
    with torch.no_grad():
        codes = own_sae.encode(tiny_activations)
        wanted = own_sae.decode(codes)
    assert torch.equal(dictionary.encode(tiny_activations), codes)
    assert torch.equal(dictionary.decode(codes), wanted)
    assert torch.equal(dictionary.encode(tiny_activations.double()), codes)
    assert (dictionary.d_sae, dictionary.d_model) == (300, 32)
    assert not dictionary.encode(tiny_activations).requires_grad


def test_encode_and_decode_by_hand(dictionary: Dictionary, own_sae: Any, tiny_activations: torch.Tensor):
    w_enc, b_enc, w_dec, b_dec = (
        getattr(own_sae, name).detach().double() for name in ("W_enc", "b_enc", "W_dec", "b_dec")
    )
    codes = ((tiny_activations.double() - b_dec) @ w_enc + b_enc).clamp_min(0)
    torch.testing.assert_close(dictionary.encode(tiny_activations).double(), codes, rtol=0, atol=1e-5)
    decoded = codes @ w_dec + b_dec
    torch.testing.assert_close(dictionary.decode(codes.float()).double(), decoded, rtol=0, atol=1e-5)


def test_unit_decoder(dictionary: Dictionary):
    w = dictionary.W_dec
    torch.testing.assert_close(dictionary.unit_decoder.norm(dim=-1), torch.ones(300))
    torch.testing.assert_close(dictionary.unit_decoder * w.norm(dim=-1, keepdim=True), w)


@pytest.mark.parametrize("batch", [7, 256, 1000])
def test_measured_frequency(dictionary: Dictionary, tiny_activations: torch.Tensor, batch: int):
    assert dictionary.frequency is None
    with pytest.raises(ResourceError, match="ships no firing frequency; measure it first"):
        _ = dictionary.alive
    measured = dictionary.measure_frequency(tiny_activations, batch=batch)
    wanted = (dictionary.encode(tiny_activations) > 0).double().mean(dim=0)
    torch.testing.assert_close(measured.frequency, wanted, rtol=0, atol=0)
    assert measured.frequency.dtype == torch.float64
    assert measured.frequency_source == "measured on 2000 last tokens"
    assert torch.equal(measured.alive, wanted > 0)
    assert dictionary.frequency is None, "the one that was measured is a new one"


def test_shipped_frequency_is_a_log10(tiny_sae_with_sparsity_folder: Path, tiny_sae_rates: torch.Tensor):
    found = load_dictionary(str(tiny_sae_with_sparsity_folder))
    wanted = tiny_sae_rates.double()
    wanted[[0, 7, 299]] = 0
    torch.testing.assert_close(found.frequency, wanted, rtol=1e-5, atol=0)
    assert (found.frequency[[0, 7, 299]] == 0).all()
    assert found.alive.sum() == 297
    assert not found.alive[[0, 7, 299]].any()
    assert found.frequency_source == "shipped with the SAE"


def test_mean_cosine_is_of_activations_about_the_decoder_bias(
    dictionary: Dictionary, tiny_activations: torch.Tensor
):
    some = tiny_activations[:40]
    apart = (some - dictionary.sae.b_dec).double().numpy()
    cosines = [
        apart[i] @ apart[j] / np.linalg.norm(apart[i]) / np.linalg.norm(apart[j])
        for i in range(40)
        for j in range(40)
        if i != j
    ]
    assert dictionary.mean_cosine(some, batch=7) == pytest.approx(np.mean(cosines), abs=1e-6)


def test_mean_cosine_by_hand(tmp_path: Path):
    # About the origin: (2, 0), (1, 0) and (0, 3): cosines 1, 0, 0 over three unordered pairs. One at the bias has none.
    identity_sae(4).save_model(tmp_path)
    dictionary = load_dictionary(str(tmp_path))
    x = torch.tensor([[2.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 0]])
    assert dictionary.mean_cosine(x[:3]) == pytest.approx(1 / 3)
    assert dictionary.mean_cosine(x) == pytest.approx(1 / 3)
    assert math.isnan(dictionary.mean_cosine(x[2:]))


def test_explained_variance(dictionary: Dictionary, tiny_activations: torch.Tensor):
    x = tiny_activations.double()
    x_hat = dictionary.decode(dictionary.encode(tiny_activations)).double()
    # Derivation: 1 - residual sum of squares over total sum of squares about the mean of each coordinate.
    wanted = 1 - float(((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum())
    assert dictionary.explained_variance(tiny_activations, batch=9) == pytest.approx(wanted, abs=1e-9)


def identity_sae(d: int, **changes: Any) -> Any:
    with quiet():
        from sae_lens import StandardSAE, StandardSAEConfig

        sae = StandardSAE(StandardSAEConfig(d_in=d, d_sae=2 * d, **changes))
    with torch.no_grad():
        eye = torch.eye(d)
        sae.W_enc.copy_(torch.cat([eye, -eye], dim=1))
        sae.W_dec.copy_(torch.cat([eye, -eye]))
        sae.b_enc.zero_()
        sae.b_dec.zero_()
    return sae


def test_explained_variance_of_perfection_and_of_nothing(tmp_path: Path):
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    identity_sae(6).save_model(tmp_path / "perfect")
    assert load_dictionary(str(tmp_path / "perfect")).explained_variance(x) == pytest.approx(1.0)
    silent = identity_sae(6)
    with torch.no_grad():
        silent.b_enc.fill_(-1e6)
        silent.b_dec.copy_(x.mean(0))
    # b_dec is subtracted first; with every latent silent the mean is all that comes back: exactly 0.
    silent.save_model(tmp_path / "silent")
    assert load_dictionary(str(tmp_path / "silent")).explained_variance(x) == pytest.approx(0.0, abs=1e-6)


def test_provenance(tiny_sae_with_sparsity_folder: Path):
    record = load_dictionary(str(tiny_sae_with_sparsity_folder)).provenance
    assert record["sha256"] == {
        name: sha256((tiny_sae_with_sparsity_folder / name).read_bytes()).hexdigest()
        for name in ("cfg.json", "sae_weights.safetensors", "sparsity.safetensors")
    }
    assert record["architecture"] == "standard"
    assert (record["d_sae"], record["d_in"]) == (300, 32)


def test_a_folder_that_is_no_sae(tmp_path: Path):
    with pytest.raises(ResourceError, match=r"cfg\.json and sae_weights\.safetensors missing"):
        load_dictionary(str(tmp_path))


@pytest.mark.parametrize("file", ["cfg.json", "sae_weights.safetensors"])
def test_a_broken_folder(tiny_sae_folder: Path, tmp_path: Path, file: str):
    folder = Path(shutil.copytree(tiny_sae_folder, tmp_path / "sae"))
    (folder / file).write_bytes(b"{nonsense")
    with pytest.raises(ResourceError, match="cannot read the SAE in"):
        load_dictionary(str(folder))


def test_a_configuration_that_does_not_fit_its_weights(
    tiny_sae_folder: Path, tmp_path: Path, edit_json: Callable[..., None]
):
    folder = shutil.copytree(tiny_sae_folder, tmp_path / "sae")
    edit_json(folder / "cfg.json", apply_b_dec_to_input=None)
    with pytest.raises(
        ResourceError, match=r"encodes nothing: TypeError: .*; its configuration does not fit"
    ):
        load_dictionary(str(folder))


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_broken_sparsity_file(tiny_sae_with_sparsity_folder: Path, tmp_path: Path, content: bytes):
    folder = Path(shutil.copytree(tiny_sae_with_sparsity_folder, tmp_path / "sae"))
    (folder / "sparsity.safetensors").write_bytes(content)
    with pytest.raises(ResourceError, match="sparsity"):
        load_dictionary(str(folder))


@pytest.mark.parametrize("normalisation", ["layer_norm", "constant_norm_rescale"])
def test_normalisation_of_each_activation_by_itself_is_refused(
    normalisation: str, tiny_sae_folder: Path, tmp_path: Path, edit_json: Callable[..., None]
):
    # SAELens keeps the scale of the last encoded batch for the next decode: a changed code has none.
    folder = Path(shutil.copytree(tiny_sae_folder, tmp_path / "sae"))
    edit_json(folder / "cfg.json", normalize_activations=normalisation)
    with pytest.raises(ResourceError, match=f"normalises each activation by itself.*{normalisation}"):
        load_dictionary(str(folder))


def top_k_sae(architecture: str, **changes: Any) -> Any:
    """An SAE of SAELens' whose decoder directions are 0.3 to 3 long, 4 of 40 latents active at once."""
    with quiet():
        import sae_lens

        config = getattr(sae_lens, f"{architecture}SAEConfig")(d_in=8, d_sae=40, k=4, **changes)
        sae = getattr(sae_lens, f"{architecture}SAE")(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        directions = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=-1)
        sae.W_dec.copy_(directions * torch.logspace(-0.5, 0.5, 40)[:, None])
        sae.W_enc.copy_(directions.T)
        sae.b_enc.copy_(0.1 * torch.randn(40, generator=generator))
        sae.b_dec.copy_(torch.randn(8, generator=generator))
    return sae


def test_the_norms_of_a_decoder_are_folded_into_what_divides_by_them(tmp_path: Path):
    own = top_k_sae("TopK", rescale_acts_by_decoder_norm=True)
    own.save_model(tmp_path)
    found = load_dictionary(str(tmp_path))
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(4)) + own.b_dec.detach()
    with torch.no_grad():
        codes = own.encode(x)
        decoded = own.decode(codes)
    # The function is the same one.
    torch.testing.assert_close(found.encode(x), codes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.decode(codes), decoded, rtol=1e-5, atol=1e-5)
    # And a latent adds its decoder direction, as often as its activation says.
    torch.testing.assert_close(codes @ found.W_dec + found.bias, decoded, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.W_dec.norm(dim=-1), torch.ones(40))


def test_a_single_latent_of_such_an_sae_has_the_bases_norm(tmp_path: Path):
    top_k_sae("TopK", rescale_acts_by_decoder_norm=True).save_model(tmp_path)
    dictionary = load_dictionary(str(tmp_path))
    base = 5 * torch.randn(30, 8, generator=torch.Generator().manual_seed(5))
    measured = dictionary.measure_frequency(base)
    block = PairBlock(
        pair=np.arange(30),
        base=base,
        other=base.flip(0),
        population=Population(base, 0),
        dictionary=measured,
        top_cosine=0.3,
        seed=0,
        firing=Firing(measured, base),
    )
    found = make_kinds({"single-latent": {}})["single-latent"].make(block, "kind:single-latent").activation
    torch.testing.assert_close(found.norm(dim=-1), base.norm(dim=-1), rtol=1e-4, atol=1e-4)


def test_plain_decoders_stay_as_trained(tmp_path: Path):
    own = top_k_sae("TopK")
    own.save_model(tmp_path)
    assert torch.equal(load_dictionary(str(tmp_path)).W_dec, own.W_dec.detach())


def test_signed_codes_are_refused(tmp_path: Path):
    top_k_sae("AbsTopK").save_model(tmp_path)
    with pytest.raises(
        ResourceError, match=r"\(abstopk\) has codes below zero.*would see a part of its code"
    ):
        load_dictionary(str(tmp_path))


def test_a_decoder_that_is_no_product_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sae_lens import StandardSAE

    identity_sae(6).save_model(tmp_path)
    load_dictionary(str(tmp_path))
    monkeypatch.setattr(StandardSAE, "decode", lambda self, codes: codes.sqrt() @ self.W_dec + self.b_dec)
    with pytest.raises(
        ResourceError, match=r"\(standard\) does not decode a code by code @ W_dec and a bias"
    ):
        load_dictionary(str(tmp_path))


def test_no_latent_that_fires_is_named(dictionary: Dictionary):
    silent = dataclasses.replace(dictionary, frequency=torch.zeros(300), frequency_source="measured on none")
    with pytest.raises(ResourceError, match=r"no latent of .* fires \(frequency measured on none\)"):
        _ = silent.alive


def test_a_release_needs_an_id():
    with pytest.raises(ResourceError, match=r"'gpt2-small-res-jb' needs sae\.id; legal: blocks\.0"):
        load_dictionary("gpt2-small-res-jb")


def test_no_such_release():
    with pytest.raises(ResourceError, match="no-such-release"):
        load_dictionary("no-such-release", id="blocks.1.hook_resid_pre")


def test_a_release_without_a_network():
    with pytest.raises(
        ResourceError, match=r"'blocks\.1\.hook_resid_pre' of 'gpt2-small-res-jb' is not in the cache"
    ):
        load_dictionary("gpt2-small-res-jb", id="blocks.1.hook_resid_pre")
