from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from plateau_lens import ConfigError
from plateau_lens.activations.registry import make_kinds

Codes = list[dict[int, float]]


def draw(lab: Any, block: Any, **parameters: Any) -> Codes:
    kind = make_kinds({"synthetic-structured": parameters})["synthetic-structured"]
    return lab.codes(kind.make(block, "kind:synthetic-structured").activation)


def by_definition(
    lab: Any, code: dict[int, float], *, top_cosine: float, neighbours: int
) -> dict[int, float]:
    """The construction in plain Python, step by step as the paper tells it."""
    w = lab.dictionary.W_dec.double().tolist()
    frequency = lab.dictionary.frequency.tolist()
    alive = [j for j in range(lab.d_sae) if frequency[j] > 0]

    def cosine(a: int, b: int) -> float:
        dot = sum(x * y for x, y in zip(w[a], w[b], strict=True))
        return dot / (sum(x * x for x in w[a]) * sum(y * y for y in w[b])) ** 0.5

    if not code:
        return {}
    t, *rest = sorted(code, key=lambda latent: -code[latent])
    near = sorted((j for j in alive if j != t), key=lambda j: abs(frequency[j] - frequency[t]))[:neighbours]
    c = min(near, key=lambda j: abs(cosine(j, t) - top_cosine))
    made = {c: code[t]}
    to_c = {j: cosine(j, c) for j in alive}
    for j in rest:
        wanted = cosine(t, j)
        new = min((i for i in alive if i not in made), key=lambda i: abs(to_c[i] - wanted))
        made[new] = code[j]
    return made


@pytest.mark.parametrize(("top_cosine", "neighbours"), [(0.42, 100), (0.0, 20), (-0.5, 143)])
def test_equals_its_definition_in_plain_python(
    lab: Any, random_codes: Codes, top_cosine: float, neighbours: int
):
    found = draw(lab, lab.block(lab.activation(*random_codes)), top_cosine=top_cosine, neighbours=neighbours)
    for code, after in zip(random_codes, found, strict=True):
        wanted = by_definition(lab, code, top_cosine=top_cosine, neighbours=neighbours)
        assert after == pytest.approx(wanted, abs=2e-3)


def test_measured_takes_the_runs_own_cosine(lab: Any, random_codes: Codes):
    base = lab.activation(*random_codes)
    for cosine in (-0.6, 0.1, 0.7):
        block = lab.block(base, top_cosine=cosine)
        assert draw(lab, block) == draw(lab, lab.block(base, top_cosine=9.0), top_cosine=cosine)
    assert draw(lab, lab.block(base, top_cosine=-0.6)) != draw(lab, lab.block(base, top_cosine=0.7))
    with pytest.raises(ConfigError, match="at least 2 prompts; set a number"):
        draw(lab, lab.block(base, top_cosine=float("nan")))


def test_the_geometry_around_the_top_latent_is_kept(lab: Any, random_codes: Codes):
    u = lab.dictionary.unit_decoder.double()
    found = draw(lab, lab.block(lab.activation(*random_codes)), top_cosine=0.42)
    kept, chance = [], []
    for code, after in zip(random_codes, found, strict=True):
        if len(code) < 2:
            continue
        old = sorted(code, key=lambda j: -code[j])
        new = sorted(after, key=lambda j: -after[j])
        kept += [
            float((u[old[0]] @ u[a] - u[new[0]] @ u[b]).abs()) for a, b in zip(old[1:], new[1:], strict=True)
        ]
        chance += [float((u[old[0]] @ u[a] - u[new[0]] @ u[a]).abs()) for a in old[1:]]
    assert sum(kept) < 0.2 * sum(chance)


def test_nothing_here_is_random(lab: Any, random_codes: Codes):
    base = lab.activation(*random_codes)
    one = draw(lab, lab.block(base, seed=0))
    assert draw(lab, lab.block(base, seed=99, pair=list(range(500, 530)))) == one
    for pair in range(len(random_codes)):
        assert draw(lab, lab.block(base[pair : pair + 1])) == [one[pair]]


def test_dead_latents_are_never_used_and_none_twice(lab: Any, random_codes: Codes):
    for code, after in zip(random_codes, draw(lab, lab.block(lab.activation(*random_codes))), strict=True):
        assert len(after) == len(code)
        assert all(lab.dictionary.alive[j] for j in after)


def test_the_other_prompts_code(lab: Any, random_codes: Codes):
    base, other = lab.activation(random_codes[5]), lab.activation(random_codes[9])
    block = lab.block(base, other=other)
    assert draw(lab, block, code="other") == draw(lab, lab.block(other))
    assert draw(lab, block, code="base") == draw(lab, lab.block(base))


def test_an_empty_code(lab: Any, random_codes: Codes):
    assert draw(lab, lab.block(lab.activation({}, {}))) == [{}, {}]
    empty, full = draw(lab, lab.block(lab.activation({}, random_codes[8])))
    assert empty == {}
    assert full == draw(lab, lab.block(lab.activation(random_codes[8])))[0]


def test_every_alive_latent_active(make_lab: Callable[..., Any]):
    frequency = torch.cat([torch.linspace(0.1, 0.5, 12), torch.zeros(8)])
    small = make_lab(frequency)
    code = {j: 2.0 + 0.5 * j for j in range(12)}
    (after,) = draw(small, small.block(small.activation(code)), neighbours=5)
    assert set(after) == set(range(12))
    assert after == pytest.approx(by_definition(small, code, top_cosine=0.3, neighbours=5), abs=2e-3)
