"""Codes latent by latent: values by hand, a plain loop, and codes with nothing to say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens import Dictionary, load_dictionary
from plateau_lens.activations.anatomy import BINS, RANKS, anatomies
from plateau_lens.models.quiet import quiet

COSINES = np.linspace(-1, 1, BINS + 1)


@pytest.fixture(scope="module")
def plane() -> Dictionary:
    """Four latents in a plane, at 0, 60, 90 and 180 degrees, of different lengths."""
    with quiet():
        from sae_lens import StandardSAE, StandardSAEConfig

        sae = StandardSAE(StandardSAEConfig(d_in=2, d_sae=4))
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [1.0, 3.0**0.5], [0.0, 0.5], [-3.0, 0.0]]))
        sae.W_enc.copy_(torch.eye(2, 4))
        sae.b_enc.zero_()
        sae.b_dec.copy_(torch.tensor([1.0, 2.0]))
    sae.eval().requires_grad_(False)
    return Dictionary(sae, "plane", torch.full((4,), 0.5, dtype=torch.float64), "given", {})


def bins(*cosines: float) -> list[int]:
    return np.histogram(cosines, bins=COSINES)[0].tolist()


def test_by_hand(plane: Dictionary):
    # Values 1, 3, 4 at 0, 60 and 180 degrees: shares 4/8, 3/8, 1/8; the top one is at 180, so that the others, at 60
    # and at 0, have cosines -0.5 and -1 with it, and 0.5 with one another: a mean of -1/3.
    (found,) = anatomies(torch.tensor([[1.0, 3.0, 0.0, 4.0]]), plane)
    assert found.active == 3
    assert found.shares.tolist() == pytest.approx([0.5, 0.375, 0.125])
    assert found.to_top.tolist() == pytest.approx([-0.5, -1.0], abs=1e-6)
    assert found.mean_among == pytest.approx(-1 / 3, abs=1e-6)
    assert sum(found.among) == 3
    at = np.flatnonzero(found.among)
    # Rounding may put a cosine on an edge into the bin below.
    assert np.abs((COSINES[at] + COSINES[at + 1]) / 2 - [-1, -0.5, 0.5]).max() < 0.011


def test_a_right_angle_has_a_cosine_of_0(plane: Dictionary):
    (found,) = anatomies(torch.tensor([[2.0, 0.0, 1.0, 0.0]]), plane)
    assert found.to_top.tolist() == [0.0]
    assert found.among.tolist() == bins(0.0)
    assert found.among[BINS // 2] == 1


def test_codes_with_too_few_latents(plane: Dictionary):
    one, none = anatomies(torch.tensor([[0.0, 0.0, 7.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), plane)
    assert (one.active, one.shares.tolist(), one.to_top.size, one.among.sum()) == (1, [1.0], 0, 0)
    assert (none.active, none.shares.size, none.to_top.size, none.among.sum()) == (0, 0, 0, 0)
    assert math.isnan(one.mean_among)
    assert math.isnan(none.mean_among)


def test_latents_in_one_direction_are_counted_in_the_last_bin(plane: Dictionary):
    with torch.no_grad():
        same = Dictionary(plane.sae, "same", plane.frequency, "given", {})
        same.__dict__["unit_decoder"] = torch.nn.functional.normalize(torch.ones(4, 2), dim=-1)
    (found,) = anatomies(torch.ones(1, 4), same)
    assert found.among.tolist() == [0] * (BINS - 1) + [6]


def test_equals_a_plain_loop(lab: Any, random_codes: list[dict[int, float]]):
    codes = torch.zeros(len(random_codes), lab.d_sae)
    for row, code in enumerate(random_codes):
        for latent, value in code.items():
            codes[row, latent] = value
    decoder = lab.dictionary.W_dec.double()
    for code, found in zip(random_codes, anatomies(codes, lab.dictionary), strict=True):
        order = sorted(code, key=lambda latent: -code[latent])
        cosine = torch.nn.functional.cosine_similarity
        between = [
            float(cosine(decoder[a], decoder[b], dim=0)) for i, a in enumerate(order) for b in order[i + 1 :]
        ]
        assert found.active == len(code)
        assert found.to_top.tolist() == pytest.approx(between[: max(0, len(code) - 1)], abs=1e-6)
        total = sum(code.values())
        assert found.shares.tolist() == pytest.approx([code[j] / total for j in order[:RANKS]])
        assert np.abs(np.cumsum(found.among) - np.cumsum(bins(*between))).max() <= 1
        if between:
            assert found.mean_among == pytest.approx(np.mean(between), abs=1e-6)


def test_no_matter_which_codes_are_described_together(lab: Any, random_codes: list[dict[int, float]]):
    codes = lab.dictionary.encode(lab.activation(*random_codes))
    together = list(anatomies(codes, lab.dictionary))
    for row in (0, 1, 12):
        (alone,) = anatomies(codes[row : row + 1], lab.dictionary)
        for one, other in zip(alone, together[row], strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_error_of_a_reconstruction(
    plane: Dictionary, tiny_sae_folder: Any, tiny_activations: torch.Tensor
):
    # x - bias = (3, 4), of length 5. The encoder gives latents 0 and 1 the coordinates of x - bias: 3 (1, 0) +
    # 4 (1, 3^0.5) = (7, 6.93): off by (4, 2.93), of length 4.958.
    found = plane.reconstruction_error(torch.tensor([[4.0, 6.0]]))
    assert found.tolist() == pytest.approx([math.hypot(4, 4 * 3**0.5 - 4) / 5], abs=1e-6)
    # x - bias = (-1, 0): the code is empty, and the bias is off by all of it. With (2, 0) nothing is off.
    assert plane.reconstruction_error(torch.tensor([[0.0, 2.0], [3.0, 2.0]])).tolist() == [1.0, 0.0]
    dictionary = load_dictionary(str(tiny_sae_folder))
    error = dictionary.reconstruction_error(tiny_activations)
    apart = tiny_activations - dictionary.decode(dictionary.encode(tiny_activations))
    wanted = apart.norm(dim=-1) / (tiny_activations - dictionary.sae.b_dec).norm(dim=-1)
    torch.testing.assert_close(error.float(), wanted)
