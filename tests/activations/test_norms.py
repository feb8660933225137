"""Norms: an activation as long as a real one, whatever kind made it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens import Kind, PairBlock, kind
from plateau_lens.activations.norms import with_norm
from plateau_lens.activations.registry import Activations, kinds, make_kinds


@pytest.fixture
def block(lab: Any, random_codes: list[dict[int, float]]) -> PairBlock:
    found = lab.block(lab.activation(*(code for code in random_codes if code)))
    # Of another norm than the base's, pair by pair.
    return dataclasses.replace(found, other=1.7 * found.other)


class TestRescaling:
    def test_by_hand(self):
        # About (3, 0), x = (3, 2) lies straight up. |(3, 2 s)| = 5 where 9 + 4 s^2 = 25: s = 2, the point (3, 4).
        found = with_norm(torch.tensor([[3.0, 2.0]]), torch.tensor([5.0]), torch.tensor([3.0, 0.0]))
        assert found.scale.tolist() == [2.0]
        assert found.activation.tolist() == [[3.0, 4.0]]

    def test_about_the_origin_it_is_a_plain_multiple(self):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
        found = with_norm(x, torch.full((5,), 3.0), torch.zeros(4))
        torch.testing.assert_close(found.activation, 3 * torch.nn.functional.normalize(x, dim=-1))

    def test_what_has_the_norm_stays_where_it_is(self):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found = with_norm(x, x.norm(dim=-1), torch.tensor([0.1, 0.2, 0.0, -0.1]))
        torch.testing.assert_close(found.scale, torch.ones(5, dtype=torch.float64))
        torch.testing.assert_close(found.activation, x)

    def test_of_two_solutions_the_one_farther_out(self):
        # About (5, 0), x = (4, 0): 5 - s is 3 for s = 2 and -3 for s = 8.
        found = with_norm(torch.tensor([[4.0, 0.0]]), torch.tensor([3.0]), torch.tensor([5.0, 0.0]))
        assert found.scale.tolist() == [8.0]

    @pytest.mark.parametrize(
        ("x", "norm"),
        [
            ([3.0, 1.0], 2.0),  # (3, s) is at least 3 long
            ([4.0, 0.0], 2.0),  # 3 + s is 2 behind the centre alone
            ([3.0, 0.0], 5.0),  # the centre itself has no direction
        ],
    )
    def test_undefined_where_the_ray_never_has_the_norm(self, x: list[float], norm: float):
        found = with_norm(torch.tensor([x]), torch.tensor([norm]), torch.tensor([3.0, 0.0]))
        assert found.scale.isnan().all()
        assert found.activation.isnan().all()


class TestKinds:
    @pytest.mark.parametrize("whose", ["base", "other"])
    @pytest.mark.parametrize("name", sorted(kinds()))
    def test_every_kind_can_be_as_long_as_a_real_activation(self, name: str, whose: str, block: PairBlock):
        made = make_kinds({"own": {"kind": name}, "at-norm": {"kind": name, "norm": whose}})
        own = made["own"].at_site(made["own"].make(block, "x"), block, centre=False)
        found = made["at-norm"].at_site(made["at-norm"].make(block, "x"), block, centre=False)
        real = block.base if whose == "base" else block.other
        torch.testing.assert_close(found.activation.norm(dim=-1), real.norm(dim=-1), rtol=1e-5, atol=0)
        # On the ray from the decoder's bias.
        rays = [
            torch.nn.functional.normalize(each.activation - block.centre, dim=-1) for each in (own, found)
        ]
        torch.testing.assert_close(rays[1], rays[0], rtol=0, atol=1e-5)

    def test_a_code_still_decodes_to_its_activation(self, block: PairBlock):
        made = make_kinds({"synthetic-structured": {"norm": "base"}})["synthetic-structured"]
        found = made.at_site(made.make(block, "x"), block, centre=False)
        assert found.code is not None
        torch.testing.assert_close(block.latents.decode(found.code), found.activation, rtol=1e-4, atol=1e-4)

    def test_a_kind_of_ones_own_has_it_without_code(self, block: PairBlock, kinds_put_back: None):
        kind("doubled")(lambda block: 2 * block.other)

        @kind("scaled")
        class Scaled(Kind):
            factor: float = 3.0

            def draw(self, block: PairBlock, purpose: str) -> torch.Tensor:
                return self.factor * block.other

        for each in make_kinds({"doubled": {"norm": "base"}, "scaled": {"norm": "base"}}).values():
            found = each.at_site(each.make(block, "x"), block, centre=False).activation
            torch.testing.assert_close(found.norm(dim=-1), block.base.norm(dim=-1))

    def test_where_the_run_centres_the_norm_is_that_of_the_centred_activation(self, block: PairBlock):
        base = block.base - block.base.mean(dim=-1, keepdim=True)
        centred = dataclasses.replace(block, base=base)
        made = make_kinds({"random": {"norm": "base"}})["random"]
        found = made.at_site(made.make(centred, "x"), centred, centre=True).activation
        torch.testing.assert_close(found.norm(dim=-1), base.norm(dim=-1))
        assert found.mean(dim=-1).abs().max() < 1e-5

    def test_without_an_sae_it_is_about_the_populations_mean(self, block: PairBlock):
        plain = dataclasses.replace(block, dictionary=None, firing=None)
        made = make_kinds({"random": {"norm": "base"}})["random"]
        own = made.make(plain, "x").activation
        found = made.at_site(Activations(own), plain, centre=False).activation
        wanted = with_norm(own, block.base.norm(dim=-1), block.population.mean).activation
        torch.testing.assert_close(found, wanted, equal_nan=True)


class TestSecondModelGenerated:
    def test_of_the_population_and_neither_of_the_pairs(self, block: PairBlock):
        made = make_kinds({"second-model-generated": {}})["second-model-generated"].make(block, "x")
        everyone = {tuple(row) for row in block.population.activations.tolist()}
        for row, found in enumerate(made.activation):
            assert tuple(found.tolist()) in everyone
            assert not torch.equal(found, block.base[row])
            assert not torch.equal(found, block.other[row])
        assert made.code is not None
        assert torch.equal(made.code, block.latents.encode(made.activation))

    def test_every_third_one_is_equally_likely(self, lab: Any):
        n = 3000
        everyone = lab.activation(*({j: 2.0} for j in (1, 2, 3, 4, 5)))
        block = lab.block(everyone[:1].expand(n, -1), other=everyone[1:2].expand(n, -1), population=everyone)
        drawn = (
            make_kinds({"second-model-generated": {}})["second-model-generated"].make(block, "x").activation
        )
        counts = [(drawn == each).all(dim=-1).sum().item() for each in everyone]
        assert counts[:2] == [0, 0]
        # Each of three is expected 1,000 times, with a standard deviation of 26.
        assert all(abs(count - 1000) < 130 for count in counts[2:])


class TestValues:
    def test_each_latents_value_is_one_of_its_own(self, lab: Any):
        # Latent 3 fires with 2 and 4, latent 5 with 7 alone; 8 never.
        everyone = lab.activation({3: 2.0, 5: 7.0}, {3: 4.0}, {9: 1.0})
        block = lab.block(
            everyone[:1].expand(400, -1), other=everyone[:1].expand(400, -1), population=everyone
        )
        made = make_kinds({"sae-reconstruction": {"values": "own"}})["sae-reconstruction"]
        codes = lab.codes(made.make(block, "x").activation)
        assert {round(code[5], 2) for code in codes} == {7.0}
        seen = np.array([round(code[3], 2) for code in codes])
        assert set(seen.tolist()) == {2.0, 4.0}
        assert 150 < (seen == 2.0).sum() < 250

    def test_a_latent_that_never_fires_there_keeps_its_value(self, lab: Any):
        made = make_kinds({"sae-reconstruction": {"values": "own"}})["sae-reconstruction"]
        base = lab.activation({8: 5.0}, {8: 6.0})
        block = lab.block(base, other=base, population=lab.activation({3: 2.0}, {4: 2.0}))
        assert lab.codes(made.make(block, "x").activation) == [{8: 5.0}, {8: 6.0}]

    def test_latents_stay_and_a_pairs_draw_is_the_same_in_any_block(self, lab: Any, block: PairBlock):
        made = make_kinds(
            {"own": {"kind": "synthetic-baseline", "values": "own"}, "kept": {"kind": "synthetic-baseline"}}
        )
        own, kept = (each.make(block, "x").code for each in made.values())
        assert torch.equal(own > 0, kept > 0)
        assert not torch.equal(own, kept)
        some = lab.block(
            block.base[[7, 3]],
            other=block.other[[7, 3]],
            pair=[7, 3],
            population=block.population.activations,
        )
        torch.testing.assert_close(made["own"].make(some, "x").code, own[[7, 3]], rtol=0, atol=1e-4)


def test_the_pairs_own_activation_is_its_base(block: PairBlock):
    made = make_kinds({"own-activation": {}})["own-activation"].make(block, "x")
    assert made.activation is block.base
    assert made.code is block.code
