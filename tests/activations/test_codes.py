from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens.activations.codes import active_latents, code_properties, to_codes


def test_taken_apart_and_put_together_again():
    codes = torch.rand(20, 50, generator=torch.Generator().manual_seed(0))
    codes = codes * (codes > 0.8)
    codes[3] = 0
    active = active_latents(codes)
    assert torch.equal(to_codes(active, 50), codes)
    assert active.active.sum(dim=-1).tolist() == (codes > 0).sum(dim=-1).tolist()
    assert (active.value.diff(dim=-1) <= 0).all()
    assert torch.equal(active.latent[:3, 0], codes[:3].argmax(dim=-1))


@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_active(rows: int):
    active = active_latents(torch.zeros(rows, 7))
    assert active.latent.shape == (rows, 0)
    assert torch.equal(to_codes(active, 7), torch.zeros(rows, 7))


def test_properties_equal_their_definitions(lab: Any, random_codes: list[dict[int, float]]):
    codes = torch.zeros(len(random_codes), lab.d_sae)
    for row, code in enumerate(random_codes):
        for latent, value in code.items():
            codes[row, latent] = value
    found = code_properties(codes, lab.dictionary)
    w = lab.dictionary.W_dec.double().numpy()
    w = w / np.linalg.norm(w, axis=1, keepdims=True)
    for row, code in enumerate(random_codes):
        assert found.active[row] == len(code)
        if not code:
            assert math.isnan(found.top_share[row])
            assert math.isnan(found.log10_frequency[row])
            continue
        top = max(code, key=lambda latent: code[latent])
        assert found.top_share[row] == pytest.approx(code[top] / sum(code.values()), abs=1e-6)
        logs = [math.log10(lab.dictionary.frequency[latent]) for latent in code]
        assert found.log10_frequency[row] == pytest.approx(np.mean(logs), abs=1e-6)
        others = [float(w[top] @ w[latent]) for latent in code if latent != top]
        if others:
            assert found.top_cosine[row] == pytest.approx(np.mean(others), abs=1e-5)
        else:
            assert math.isnan(found.top_cosine[row])
