from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens import ResourceError
from plateau_lens.activations.registry import make_kinds

Codes = list[dict[int, float]]


def draw(lab: Any, block: Any, purpose: str = "kind:synthetic-baseline", **parameters: Any) -> Codes:
    kind = make_kinds({"synthetic-baseline": parameters})["synthetic-baseline"]
    return lab.codes(kind.make(block, purpose).activation)


def nearest(lab: Any, latent: int, k: int) -> set[int]:
    """The k alive latents nearest in firing frequency, by sorting them all."""
    frequency = lab.dictionary.frequency.tolist()
    alive = [j for j in range(lab.d_sae) if frequency[j] > 0 and j != latent]
    return set(sorted(alive, key=lambda j: abs(frequency[j] - frequency[latent]))[:k])


def pairs_of(before: dict[int, float], after: dict[int, float]) -> list[tuple[int, int]]:
    """(replaced latent, new latent), matched by their value: values of one code are distinct."""
    by_value = {value: latent for latent, value in after.items()}
    return [(latent, by_value[value]) for latent, value in before.items()]


def test_the_lab_reads_codes_back(lab: Any, random_codes: Codes):
    base = lab.activation(*random_codes)
    encoded = lab.dictionary.encode(base)
    assert [int((row > 0).sum()) for row in encoded] == [len(code) for code in random_codes]
    assert lab.codes(lab.dictionary.decode(encoded)) == random_codes


@pytest.mark.parametrize("match", ["frequency", "none"])
@pytest.mark.parametrize("seed", range(4))
def test_values_stay_and_latents_move(lab: Any, random_codes: Codes, match: str, seed: int):
    block = lab.block(lab.activation(*random_codes), seed=seed)
    for before, after in zip(random_codes, draw(lab, block, match=match), strict=True):
        assert sorted(after.values()) == pytest.approx(sorted(before.values()), abs=2e-3)
        assert len(after) == len(before), "no latent twice"
        assert all(lab.dictionary.alive[j] for j in after)
        for old, new in pairs_of(before, after):
            assert new != old


@pytest.mark.parametrize("k", [5, 10, 30])
def test_new_latents_are_among_the_nearest_in_frequency(lab: Any, random_codes: Codes, k: int):
    moves = []
    for seed in range(5):
        block = lab.block(lab.activation(*random_codes), seed=seed)
        found = draw(lab, block, neighbours=k)
        moves += [pair for b, a in zip(random_codes, found, strict=True) for pair in pairs_of(b, a)]
    assert len(moves) > 300
    assert all(new in nearest(lab, old, k) for old, new in moves)


def test_without_matching_they_come_from_everywhere(lab: Any, random_codes: Codes):
    found: Counter[int] = Counter()
    for seed in range(20):
        for code in draw(lab, lab.block(lab.activation(*random_codes), seed=seed), match="none"):
            found.update(code)
    assert set(found) == set(lab.dictionary.alive.nonzero().flatten().tolist())


@pytest.mark.parametrize(("match", "n_candidates"), [("frequency", 10), ("none", 143)])
def test_uniform_over_the_candidates(lab: Any, match: str, n_candidates: int):
    # One active latent, 6000 pairs: each candidate is expected 6000 / n times. Chi-square with n - 1 degrees
    # of freedom has mean n - 1 and variance 2 (n - 1).
    latent, n = 33, 6000
    base = lab.activation({latent: 5.0}).expand(n, -1)
    counts = Counter(next(iter(code)) for code in draw(lab, lab.block(base), match=match))
    candidates = nearest(lab, latent, n_candidates)
    assert set(counts) <= candidates
    expected = n / n_candidates
    chi_square = sum((counts[j] - expected) ** 2 / expected for j in candidates)
    assert chi_square < n_candidates - 1 + 5 * np.sqrt(2 * (n_candidates - 1))


def test_choices_of_one_code_are_independent_of_each_other(lab: Any):
    # Two latents with no neighbour in common: 100 combinations, each expected 60 times in 6000.
    frequency = lab.dictionary.frequency
    alive = lab.dictionary.alive.nonzero().flatten()
    order = alive[frequency[alive].argsort()].tolist()
    low, high = order[20], order[-20]
    assert not nearest(lab, low, 10) & nearest(lab, high, 10)
    base = lab.activation({low: 5.0, high: 3.0}).expand(6000, -1)
    counts: Counter[tuple[int, ...]] = Counter()
    for code in draw(lab, lab.block(base)):
        counts[tuple(latent for latent, _ in sorted(code.items(), key=lambda item: -item[1]))] += 1
    chi_square = sum(
        (counts[a, b] - 60) ** 2 / 60 for a in nearest(lab, low, 10) for b in nearest(lab, high, 10)
    )
    assert chi_square < 99 + 5 * np.sqrt(2 * 99)


def test_a_pairs_draw_is_the_same_alone_and_in_any_block(lab: Any, random_codes: Codes):
    base = lab.activation(*random_codes[:12])
    for match in ("frequency", "none"):
        together = draw(lab, lab.block(base), match=match)
        for pair in range(12):
            assert draw(lab, lab.block(base[pair : pair + 1], pair=[pair]), match=match) == [together[pair]]
        order = [5, 11, 0, 7]
        assert draw(lab, lab.block(base[order], pair=order), match=match) == [together[i] for i in order]


def test_pairs_seeds_and_purposes_differ(lab: Any):
    code = {33: 9.0, 41: 8.0, 52: 7.0, 63: 6.0, 74: 5.0, 85: 4.0, 96: 3.0, 117: 2.0}
    base = lab.activation(code, code)
    one, other = draw(lab, lab.block(base))
    assert one != other
    assert draw(lab, lab.block(base)) == [one, other]
    assert draw(lab, lab.block(base, seed=1)) != [one, other]
    assert draw(lab, lab.block(base), purpose="kind:another label") != [one, other]


def test_the_other_prompts_code(lab: Any, random_codes: Codes):
    base, other = lab.activation(random_codes[5]), lab.activation(random_codes[9])
    (found,) = draw(lab, lab.block(base, other=other), code="other")
    assert sorted(found.values()) == pytest.approx(sorted(random_codes[9].values()), abs=2e-3)


def test_an_empty_code_decodes_to_nothing(lab: Any, random_codes: Codes):
    base = lab.activation({}, {})
    assert draw(lab, lab.block(base)) == [{}, {}]
    (_, full) = draw(lab, lab.block(lab.activation({}, random_codes[7])))
    assert len(full) == 7


def test_exhausted_neighbours_fall_back_on_the_next_nearest(make_lab: Callable[..., Any]):
    # 14 latents of nearly the same frequency are active and have the same few neighbours; 10 far ones follow.
    frequency = torch.cat([0.5 + torch.arange(14) * 1e-4, 0.1 + torch.arange(10) * 1e-3])
    small = make_lab(frequency)
    code = {j: 2.0 + 0.5 * j for j in range(14)}
    for seed in range(20):
        (after,) = draw(small, small.block(small.activation(code), seed=seed), neighbours=3)
        assert sorted(after.values()) == pytest.approx(sorted(code.values()), abs=2e-3)
        assert len(after) == 14
        assert all(old != new for old, new in pairs_of(code, after))
        # 14 moves within the 14 near latents leave at most one of them unused: none goes far without need.
        assert len([j for j in after if j >= 14]) <= 1


@pytest.mark.parametrize("match", ["frequency", "none"])
def test_more_active_latents_than_can_move_is_an_error_not_a_wrong_code_or_an_endless_search(
    match: str, make_lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    from plateau_lens import PlateauLensError
    from plateau_lens.activations import registry

    # 12 alive latents, all active: sooner or later the last one finds only itself unused.
    small = make_lab(torch.cat([torch.linspace(0.1, 0.5, 12), torch.zeros(8)]))
    code = {j: 2.0 + 0.5 * ((5 * j) % 12) for j in range(12)}

    class Impatient:
        """A generator that gives up where the search would go on for ever."""

        def __init__(self, generator: np.random.Generator):
            self.generator, self.asked = generator, 0

        def __getattr__(self, name: str) -> Any:
            self.asked += 1
            if self.asked > 20_000:
                raise AssertionError("the search for an unused latent does not end")
            return getattr(self.generator, name)

    real = registry.rng
    monkeypatch.setattr(registry, "rng", lambda *key: Impatient(real(*key)))
    for seed in range(30):
        block = small.block(small.activation(code), seed=seed)
        try:
            (after,) = draw(small, block, match=match, neighbours=3)
        except PlateauLensError:
            continue
        assert sorted(after.values()) == pytest.approx(sorted(code.values()), abs=2e-3)
        assert all(old != new for old, new in pairs_of(code, after))
        assert all(small.dictionary.alive[j] for j in after)


def test_the_notebooks_bag_may_choose_dead_latents_and_one_latent_twice(make_lab: Callable[..., Any]):
    # Two active latents of frequency 0.3 and 0.31 whose one nearest neighbour is each other's or latent 2.
    frequency = torch.tensor([0.30, 0.31, 0.305, 0.9, 0.0, 0.0])
    lab = make_lab(frequency)
    base = lab.activation({0: 4.0, 1: 2.0})
    moved = {}
    for collisions in ("forbidden", "overwrite"):
        kind = make_kinds({"synthetic-baseline": {"neighbours": 1, "collisions": collisions}})
        drawn = kind["synthetic-baseline"].make(lab.block(base), "x").activation
        moved[collisions] = lab.codes(drawn)[0]
    # Latent 2 is the nearest of both: one value is pushed elsewhere, or the smaller one overwrites the larger.
    assert moved["forbidden"][2] == pytest.approx(4.0, abs=2e-3)
    assert sorted(moved["forbidden"].values()) == pytest.approx([2.0, 4.0], abs=2e-3)
    assert moved["overwrite"] == pytest.approx({2: 2.0}, abs=2e-3)

    rare = make_lab(torch.tensor([0.001, 0.9, 0.8, 0.7, 0.0, 0.0]))
    block = rare.block(rare.activation({0: 3.0}))
    for dead, wanted in (("excluded", {3}), ("included", {4, 5})):
        kind = make_kinds({"synthetic-baseline": {"neighbours": 1, "dead": dead}})
        (code,) = rare.codes(kind["synthetic-baseline"].make(block, "x").activation)
        assert set(code) <= wanted


def test_the_notebooks_random_is_narrower_by_the_divisor(lab: Any, random_codes: Codes):
    block = lab.block(lab.activation(*random_codes))
    made = (make_kinds({"random": {"divisor": d}})["random"].make(block, "x") for d in ("n", "n-1"))
    narrow, wide = (each.activation for each in made)
    mean, n = block.population.mean, len(block.population)
    torch.testing.assert_close((narrow - mean), (wide - mean) * ((n - 1) / n) ** 0.5, atol=1e-4, rtol=1e-4)


def test_latents_that_fire_equally_often_move_anywhere(make_lab: Any):
    lab = make_lab(torch.full((160,), 0.01, dtype=torch.float64))
    base = lab.activation({80: 5.0}).expand(300, -1)
    found = [{j for code in draw(lab, lab.block(base, seed=seed)) for j in code} for seed in range(12)]
    assert {len(each) for each in found} == {10}
    # Ten of 159 at random are 40 places away on average, and each of 12 seeds has other ones: of 159 latents
    # 159 (1 - (1 - 10 / 159)^12) = 86 are expected in all. By index they would be within ten places, and ten in all.
    assert np.mean([abs(j - 80) for each in found for j in each]) == pytest.approx(40, abs=10)
    assert len(set.union(*found)) > 60
    for some in ([3], [7, 2]):
        again = draw(lab, lab.block(base[: len(some)], pair=some))
        assert again == [draw(lab, lab.block(base))[pair] for pair in some]


@pytest.mark.parametrize("match", ["frequency", "none"])
@pytest.mark.parametrize("collisions", ["forbidden", "overwrite"])
def test_one_latent_alive_is_named(make_lab: Callable[..., Any], match: str, collisions: str):
    # A latent never replaces itself, so that the only one alive has nowhere to go, whether or not others may collide.
    frequency = torch.zeros(12, dtype=torch.float64)
    frequency[3] = 0.5
    lab = make_lab(frequency)
    block = lab.block(lab.activation({3: 2.0}, {3: 5.0}))
    with pytest.raises(ResourceError, match=r"1 latents (may be chosen|are alive)"):
        draw(lab, block, match=match, collisions=collisions, neighbours=1)


def test_two_latents_alive_may_collide(make_lab: Callable[..., Any]):
    # Codes of latents 3 and 5 alone: each moves to the other, and the later of two that meet overwrites the earlier.
    frequency = torch.zeros(12, dtype=torch.float64)
    frequency[[3, 5]] = torch.tensor([0.5, 0.4], dtype=torch.float64)
    lab = make_lab(frequency)
    block = lab.block(lab.activation({3: 2.0}, {5: 4.0}))
    assert draw(lab, block, match="none", collisions="overwrite") == [{5: 2.0}, {3: 4.0}]
