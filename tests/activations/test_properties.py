from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens.activations.properties import code_properties


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
