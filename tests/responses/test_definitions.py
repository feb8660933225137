"""What each response is, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, rel_entr, softmax

from plateau_lens.responses.js import JS
from plateau_lens.responses.kl import KL
from plateau_lens.responses.l2 import L2
from plateau_lens.responses.registry import Response


def random_logits(seed: int, scale: float, vocab: int = 500) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(2, 6, vocab, generator=generator, dtype=torch.float64)


def test_l2_by_hand():
    read_out = torch.tensor([[[1.0, 1.0], [4.0, 5.0], [1.0, -1.0]]])
    assert L2().of(read_out).tolist() == [[0.0, 5.0, 2.0]]


def test_l2_is_summed_in_float64():
    # 1 + 1e-8 is 1 in float32, and so would be the sum of their squares' difference.
    read_out = torch.zeros(1, 2, 10_001)
    read_out[0, 1] = 1e-4
    read_out[0, 1, 0] = 1.0
    assert float(L2().of(read_out)[0, 1]) == pytest.approx(math.sqrt(1 + 1e4 * 1e-8), abs=1e-8)


def test_kl_by_hand():
    # p = (1/2, 1/2), q = (1/4, 3/4): KL(p || q) = log(2)/2 + log(2/3)/2 = log(4/3)/2. The other way round it
    # would be log(1/2)/4 + 3 log(3/2)/4 = 0.1308.
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)]]], dtype=torch.float64)
    found = KL().of(logits)
    assert found[0].tolist() == pytest.approx([0.0, math.log(4 / 3) / 2], abs=1e-15)


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0])
def test_kl_equals_scipy(scale: float):
    logits = random_logits(3, scale)
    p = softmax(logits.numpy(), axis=-1)
    wanted = rel_entr(p[:, :1], p).sum(axis=-1)
    np.testing.assert_allclose(KL().of(logits).numpy(), wanted, rtol=0, atol=1e-13)
    # In float32 to 1e-5 nats, as its docstring says, or to rounding where it is tens of nats.
    np.testing.assert_allclose(KL().of(logits.float()).numpy(), wanted, rtol=1e-6, atol=1e-5)


def test_kl_is_good_to_1e_5_nats_in_float32_over_a_large_vocabulary():
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(1, 4, 50_000, generator=generator) + 30
    logits[:, 1:] = logits[:, :1] + 0.05 * torch.randn(1, 3, 50_000, generator=generator)
    log_p = log_softmax(logits.double().numpy(), axis=-1)
    wanted = (np.exp(log_p[:, :1]) * (log_p[:, :1] - log_p)).sum(axis=-1)
    np.testing.assert_allclose(KL().of(logits).numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("response", [KL(), JS()], ids=lambda made: made.name)
def test_a_constant_added_to_logits_changes_nothing(response: Response):
    logits = random_logits(4, 2.0)
    shift = torch.tensor([0.0, 5.0, -40.0, 3.0, 100.0, -7.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(response.of(logits + shift), response.of(logits), rtol=0, atol=1e-7)


@pytest.mark.parametrize("response", [KL(), JS()], ids=lambda made: made.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_distributions_are_at_zero_and_none_is_negative(response: Response, dtype: torch.dtype):
    logits = random_logits(5, 3.0).to(dtype)[:, :1].expand(-1, 6, -1)
    assert (response.of(logits) == 0).all()
    wiggle = logits + 1e-6 * random_logits(6, 1.0).to(dtype)
    assert (response.of(wiggle) >= 0).all()


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-6), (torch.float64, 1e-9)])
def test_js_equals_scipy(scale: float, dtype: torch.dtype, limit: float):
    logits = random_logits(7, scale)
    p = softmax(logits.numpy(), axis=-1)
    wanted = np.array([[jensenshannon(row[0], q, base=2) for q in row] for row in p])
    np.testing.assert_allclose(JS().of(logits.to(dtype)).numpy(), wanted, rtol=0, atol=limit)


def test_disjoint_distributions_are_at_one():
    logits = torch.full((1, 2, 4), -1e4, dtype=torch.float64)
    logits[0, 0, 0] = logits[0, 1, 3] = 0
    assert JS().of(logits)[0].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_inputs_are_left_as_they_were():
    logits = random_logits(8, 1.0)
    before = logits.clone()
    KL().of(logits)
    JS().of(logits)
    assert torch.equal(logits, before)
