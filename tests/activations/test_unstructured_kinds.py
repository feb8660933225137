"""The kinds below the bag of latents: what each keeps of the base, and what it does not look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.population import Population, rng
from plateau_lens.activations.registry import make_kinds

Codes = list[dict[int, float]]
KINDS = ("single-latent", "isotropic", "shuffled-decoder", "random-dictionary", "covariance-mixture")


def draw(name: str, block: Any, purpose: str = "kind:x") -> torch.Tensor:
    return make_kinds({name: {}})[name].make(block, purpose).activation


@pytest.fixture
def block(lab: Any, random_codes: Codes) -> Any:
    return lab.block(lab.activation(*random_codes[1:]))


@pytest.mark.parametrize("name", KINDS)
def test_a_pairs_draw_is_the_same_alone_and_in_any_block(lab: Any, block: Any, name: str):
    together = draw(name, block)
    assert together.shape == block.base.shape
    assert together.dtype == block.base.dtype
    for pairs in ([3], [12, 5, 0], [28, 7]):
        some = lab.block(block.base[pairs], pair=pairs, population=block.base)
        torch.testing.assert_close(draw(name, some), together[pairs], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_seed_and_purpose_decide(lab: Any, block: Any, name: str):
    assert torch.equal(draw(name, block), draw(name, block))
    assert not torch.allclose(draw(name, lab.block(block.base, seed=1)), draw(name, block))
    assert not torch.allclose(draw(name, block, "kind:another label"), draw(name, block))


@pytest.mark.parametrize("name", ["single-latent", "isotropic"])
def test_nothing_but_the_norm_is_the_bases(lab: Any, block: Any, name: str):
    drawn = draw(name, block)
    torch.testing.assert_close(drawn.norm(dim=-1), block.base.norm(dim=-1), rtol=1e-4, atol=0)
    mirrored = lab.block(block.base.flip(-1))
    torch.testing.assert_close(draw(name, mirrored), drawn, rtol=1e-4, atol=1e-4)


def test_isotropic_directions_have_no_preference(lab: Any):
    base = torch.ones(20_000, lab.d_sae)
    directions = draw("isotropic", lab.block(base)).double() / lab.d_sae**0.5
    # Uniform on the sphere: mean 0 and second moments 1 / d_model on the diagonal, 0 elsewhere.
    n, d = directions.shape
    assert directions.mean(dim=0).abs().max() < 5 / (n * d) ** 0.5
    moments = directions.T @ directions / n - torch.eye(d).double() / d
    assert moments.abs().max() < 6 * 2**0.5 / (d * n**0.5)


class TestSingleLatent:
    def test_one_alive_latent_uniformly(self, lab: Any):
        n = 6000
        codes = lab.codes(draw("single-latent", lab.block(lab.activation({33: 5.0}).expand(n, -1))))
        assert all(len(code) == 1 for code in codes)
        alive = lab.dictionary.alive.nonzero().flatten().tolist()
        counts = {j: 0 for j in alive}
        for code in codes:
            counts[next(iter(code))] += 1
        expected, degrees = n / len(alive), len(alive) - 1
        chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
        assert chi_square < degrees + 5 * (2 * degrees) ** 0.5

    @pytest.mark.parametrize("length", [0.5, 4.0])
    def test_with_a_bias_the_norm_is_met_or_come_close_to(self, make_lab: Callable[..., Any], length: float):
        lab = make_lab(torch.linspace(0, 0.5, 80))
        bias = torch.linspace(-0.2, 0.3, lab.d_sae)
        with torch.no_grad():
            lab.dictionary.sae.b_dec.copy_(bias)
        base = torch.randn(40, lab.d_sae, generator=torch.Generator().manual_seed(0))
        base = length * torch.nn.functional.normalize(base, dim=-1)
        kind = make_kinds({"single-latent": {}})["single-latent"]
        assert isinstance(kind, CodeKind)
        codes = kind.code_of(lab.block(base), "x")
        assert 0.5 < bias.norm() < 4.0
        w, b = lab.dictionary.W_dec.double().numpy(), bias.double().numpy()
        alive = lab.dictionary.alive.nonzero().flatten().tolist()
        tried = np.linspace(0, 20, 4001)[:, None]
        for pair, code in enumerate(codes):
            latent = alive[rng(0, "x", pair).integers(len(alive))]
            assert set(code.nonzero().flatten().tolist()) <= {latent}
            found = np.linalg.norm(b + float(code[latent]) * w[latent])
            best = np.abs(np.linalg.norm(b + tried * w[latent], axis=1) - length).min()
            assert abs(found - length) <= best + 1e-5
            if length > bias.norm():
                assert found == pytest.approx(length, rel=1e-5)


class TestShuffledDecoder:
    def test_equals_its_definition(self, lab: Any, random_codes: Codes, block: Any):
        found = lab.codes(draw("shuffled-decoder", block))
        alive = [j for j in range(lab.d_sae) if lab.dictionary.alive[j]]
        order = rng(0, "kind:x", 0).permutation(len(alive))
        swap = {latent: alive[place] for latent, place in zip(alive, order.tolist(), strict=True)}
        assert sorted(swap.values()) == alive
        assert sum(old == new for old, new in swap.items()) < 8
        norm = lab.dictionary.W_dec.double().norm(dim=-1).tolist()
        for code, after in zip(random_codes[1:], found, strict=True):
            wanted = {swap[j]: value * norm[j] / norm[swap[j]] for j, value in code.items()}
            assert after == pytest.approx(wanted, abs=3e-3)

    def test_one_permutation_for_all_pairs(self, lab: Any):
        first, second = lab.codes(
            draw("shuffled-decoder", lab.block(lab.activation({33: 5.0}, {33: 2.0, 41: 4.0})))
        )
        assert set(first) < set(second)


class TestRandomDictionary:
    def test_is_a_decoder_with_random_directions_and_the_norms_of_the_old(self, lab: Any):
        latents = [33, 41, 52]
        single = draw("random-dictionary", lab.block(lab.activation(*({j: 1.0} for j in latents))))
        norm = lab.dictionary.W_dec.norm(dim=-1)
        torch.testing.assert_close(single.norm(dim=-1), norm[latents], rtol=1e-3, atol=0)
        old = lab.dictionary.unit_decoder[latents]
        new = torch.nn.functional.normalize(single, dim=-1)
        assert (old * new).sum(dim=-1).abs().max() < 6 / lab.d_sae**0.5
        assert (new @ new.T - torch.eye(3)).abs().max() < 6 / lab.d_sae**0.5
        # Linear in the code, whatever else is active and in whichever pair.
        (mixed,) = draw("random-dictionary", lab.block(lab.activation({33: 2.0, 52: 3.5}), pair=[77]))
        torch.testing.assert_close(mixed, 2 * single[0] + 3.5 * single[2], rtol=0, atol=5e-3)

    def test_an_empty_code_is_the_bias(self, lab: Any):
        block = lab.block(lab.activation({}, {33: 1.0}))
        torch.testing.assert_close(draw("random-dictionary", block)[0], lab.dictionary.bias)


class TestCovarianceMixture:
    def test_the_step_does_not_use_the_base(self, lab: Any, block: Any):
        step = draw("covariance-mixture", block) - block.base
        other = lab.block(block.base.flip(0) * 3 + 1, population=block.base)
        torch.testing.assert_close(draw("covariance-mixture", other) - other.base, step, rtol=0, atol=1e-3)

    def test_the_step_is_normal_with_mean_0_and_twice_the_covariance(self):
        from types import SimpleNamespace

        n = 20_000
        rows = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        rows = rows @ torch.tensor([[2.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 3, 1], [0, 0, 0, 0.5]]).double() + 7
        block = SimpleNamespace(
            base=torch.zeros(n, 4, dtype=torch.float64),
            population=Population(rows, 0),
            rngs=lambda purpose: [rng(0, purpose, pair) for pair in range(n)],
        )
        step = draw("covariance-mixture", block).numpy()
        wanted = 2 * np.cov(rows.numpy(), rowvar=False)
        sd = np.sqrt(np.diag(wanted))
        assert (np.abs(step.mean(axis=0)) / (sd / n**0.5)).max() < 5
        error = np.sqrt((wanted**2 + np.outer(sd**2, sd**2)) / n)
        assert (np.abs(np.cov(step, rowvar=False) - wanted) / error).max() < 5
