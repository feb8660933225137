from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch

from plateau_lens import PlateauLensError
from plateau_lens.activations.registry import make_kinds

Codes = list[dict[int, float]]
TOPS, OTHERS = ("cosine", "frequency", "any"), ("cosine", "frequency-and-cosine", "co-activation")
RUNGS = list(product(TOPS, OTHERS))


def draw(lab: Any, block: Any, purpose: str = "kind:swap", **parameters: Any) -> Codes:
    return lab.codes(make_kinds({"latent-swap": parameters})["latent-swap"].make(block, purpose).activation)


class Plain:
    """The construction in plain Python, from the decoder, the frequencies and the population's codes alone."""

    def __init__(self, lab: Any, population: Codes):
        w = lab.dictionary.W_dec.double().tolist()
        length = [sum(x * x for x in row) ** 0.5 for row in w]
        self.u = [[x / n for x in row] for row, n in zip(w, length, strict=True)]
        self.frequency = lab.dictionary.frequency.tolist()
        self.alive = [j for j in range(lab.d_sae) if self.frequency[j] > 0]
        self.population = population

    def cosine(self, a: int, b: int) -> float:
        return sum(x * y for x, y in zip(self.u[a], self.u[b], strict=True))

    def near(self, latent: int, among: list[int]) -> list[int]:
        others = [j for j in among if j != latent]
        return sorted(others, key=lambda j: abs(self.frequency[j] - self.frequency[latent]))

    def fires(self, latent: int) -> set[int]:
        return {row for row, code in enumerate(self.population) if latent in code}

    def together(self, latent: int) -> list[int]:
        mine, n = self.fires(latent), len(self.population)
        return [
            j
            for j in self.alive
            if j != latent and len(mine & self.fires(j)) * n > len(mine) * len(self.fires(j))
        ]

    def tops(self, t: int, top: str, others: str, top_cosine: float, k: int) -> list[int]:
        """What the top latent may become: one by cosine, several by chance."""
        allowed = [j for j in self.alive if others != "co-activation" or self.fires(j)]
        near = self.near(t, allowed)
        if top == "cosine":
            return [min(near[:k], key=lambda j: abs(self.cosine(t, j) - top_cosine))]
        return near[:k] if top == "frequency" else near

    def rest(self, code: dict[int, float], c: int, others: str, k: int) -> dict[int, float]:
        """The whole code, once its top latent is ``c``."""
        t, *rest = sorted(code, key=lambda latent: -code[latent])
        made = {c: code[t]}
        for j in rest:
            free = [i for i in self.alive if i not in made]
            choice = free
            if others == "frequency-and-cosine":
                choice = [i for i in self.near(j, self.alive)[:k] if i in free] or self.near(j, free)[:1]
            elif others == "co-activation":
                choice = [i for i in self.together(c) if i in free] or free
            made[min(choice, key=lambda i: abs(self.cosine(i, c) - self.cosine(t, j)))] = code[j]
        return made


@pytest.fixture(scope="module")
def plain(lab: Any, random_codes: Codes) -> Plain:
    return Plain(lab, random_codes)


@pytest.mark.parametrize(("top", "others"), RUNGS)
@pytest.mark.parametrize(("top_neighbours", "neighbours"), [(10, 5), (60, 40)])
def test_equals_its_definition_in_plain_python(
    lab: Any,
    random_codes: Codes,
    plain: Plain,
    top: str,
    others: str,
    top_neighbours: int,
    neighbours: int,
):
    block = lab.block(lab.activation(*random_codes), top_cosine=0.2)
    sizes = {"top_neighbours": top_neighbours, "neighbours": neighbours}
    for code, after in zip(random_codes, draw(lab, block, top=top, others=others, **sizes), strict=True):
        if not code:
            assert after == {}
            continue
        t = max(code, key=lambda latent: code[latent])
        c = max(after, key=lambda latent: after[latent])
        assert c in plain.tops(t, top, others, 0.2, top_neighbours)
        assert after == pytest.approx(plain.rest(code, c, others, neighbours), abs=2e-3)


def test_the_defaults_are_synthetic_structured(lab: Any, random_codes: Codes):
    block = lab.block(lab.activation(*random_codes))
    structured = make_kinds({"synthetic-structured": {}})["synthetic-structured"]
    assert draw(lab, block) == lab.codes(structured.make(block, "kind:synthetic-structured").activation)


@pytest.mark.parametrize(("top", "others"), RUNGS)
def test_values_stay_dead_latents_are_never_used_and_none_twice(
    lab: Any, random_codes: Codes, top: str, others: str
):
    for seed in range(3):
        block = lab.block(lab.activation(*random_codes), seed=seed)
        found = draw(lab, block, top=top, others=others, top_neighbours=50)
        for code, after in zip(random_codes, found, strict=True):
            assert len(after) == len(code)
            assert sorted(after.values()) == pytest.approx(sorted(code.values()), abs=2e-3)
            assert all(lab.dictionary.alive[j] for j in after)


@pytest.mark.parametrize(("top", "others"), RUNGS)
def test_a_pairs_draw_is_the_same_alone_and_in_any_block(
    lab: Any, random_codes: Codes, top: str, others: str
):
    parameters = {"top": top, "others": others, "top_neighbours": 50}
    everyone = lab.activation(*random_codes)
    together = draw(lab, lab.block(everyone), **parameters)
    for pairs in ([3], [12, 5, 0], [29, 7]):
        block = lab.block(everyone[pairs], pair=pairs, population=everyone)
        assert draw(lab, block, **parameters) == [together[pair] for pair in pairs]


@pytest.mark.parametrize(("top", "k"), [("frequency", 10), ("any", 143)])
def test_random_tops_are_uniform_over_their_candidates(lab: Any, plain: Plain, top: str, k: int):
    # One active latent, 6000 pairs: each candidate is expected 6000 / k times. Chi-square with k - 1 degrees of
    # freedom has mean k - 1 and variance 2 (k - 1).
    n, latent = 6000, 33
    base = lab.activation({latent: 5.0}).expand(n, -1)
    counts = Counter(next(iter(code)) for code in draw(lab, lab.block(base), top=top, top_neighbours=10))
    candidates = plain.near(latent, plain.alive)[:k]
    assert set(counts) <= set(candidates)
    chi_square = sum((counts[j] - n / k) ** 2 / (n / k) for j in candidates)
    assert chi_square < k - 1 + 5 * (2 * (k - 1)) ** 0.5


def test_random_tops_differ_by_pair_seed_and_purpose(lab: Any):
    base = lab.activation(*[{33: 9.0, 41: 4.0, 52: 3.0}] * 8)
    for top in ("frequency", "any"):
        one = draw(lab, lab.block(base), top=top)
        assert len({tuple(code) for code in one}) > 1
        assert draw(lab, lab.block(base), top=top) == one
        assert draw(lab, lab.block(base, seed=1), top=top) != one
        assert draw(lab, lab.block(base), top=top, purpose="kind:another label") != one


def test_the_other_prompts_code(lab: Any, random_codes: Codes):
    base, other = lab.activation(random_codes[5]), lab.activation(random_codes[9])
    (found,) = draw(lab, lab.block(base, other=other), code="other", top="any")
    assert sorted(found.values()) == pytest.approx(sorted(random_codes[9].values()), abs=2e-3)


@pytest.mark.parametrize(("top", "others"), RUNGS)
def test_codes_of_one_latent_and_of_none(lab: Any, random_codes: Codes, top: str, others: str):
    parameters = {"top": top, "others": others, "top_neighbours": 50}
    everyone = lab.activation(*random_codes)
    assert draw(lab, lab.block(lab.activation({}, {}), population=everyone), **parameters) == [{}, {}]
    block = lab.block(lab.activation({33: 2.0}, {}), population=everyone)
    (one, none) = draw(lab, block, **parameters)
    assert list(one.values()) == pytest.approx([2.0], abs=2e-3)
    assert none == {}


def test_more_active_latents_than_can_move_is_an_error(make_lab: Callable[..., Any]):
    small = make_lab(torch.cat([torch.linspace(0.1, 0.5, 12), torch.zeros(8)]))
    block = small.block(small.activation({j: 2.0 + 0.5 * j for j in range(12)}))
    sizes = {"top_neighbours": 5, "neighbours": 5}
    assert len(draw(small, block, others="cosine", **sizes)[0]) == 12
    with pytest.raises(PlateauLensError, match="12 latents may be chosen, but a code has 12 active ones"):
        draw(small, block, others="frequency-and-cosine", **sizes)
