from __future__ import annotations

import pytest
import torch

from plateau_lens.activations.codes import active_latents, to_codes


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
