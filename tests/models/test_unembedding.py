"""KL through a linear unembedding without keeping logits, and which unembeddings are linear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from plateau_lens import EngineError, SuffixEngine
from plateau_lens.models import unembedding
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.products import Products
from plateau_lens.models.unembedding import Unembedding


def made(make_tiny_model: Callable[..., Any], architecture: str = "llama", **changes: Any) -> Unembedding:
    return SuffixEngine(make_tiny_model(architecture, **changes))._unembedding


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "opt", "gptj"])
def test_a_product_is_found_to_be_linear(architecture: str, make_tiny_model: Callable[..., Any]):
    assert made(make_tiny_model, architecture).linear


@pytest.mark.parametrize(
    ("architecture", "changes"), [("gemma2", {}), ("cohere", {"logit_scale": 0.5}), ("granite", {})]
)
def test_soft_caps_and_scales_are_not(
    architecture: str, changes: dict[str, Any], make_tiny_model: Callable[..., Any]
):
    found = made(make_tiny_model, architecture, **changes)
    assert not found.linear
    with pytest.raises(EngineError, match="not a matrix product"):
        found.kl(torch.zeros(1, 2, 32), Products(found.model))


def test_a_head_that_does_more_than_its_product_is_not(make_tiny_model: Callable[..., Any]):
    class Scaled(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 3 * super().forward(input)

    model = make_tiny_model("llama")
    assert SuffixEngine(model)._unembedding.linear
    model.lm_head.__class__ = Scaled
    engine = SuffixEngine(model)
    assert not engine._unembedding.linear
    tokens = torch.randint(5, 200, (2, 6), generator=torch.Generator().manual_seed(0))
    base = engine.site_activations(tokens)
    points = torch.stack([base, 2 * base, -base], dim=1)
    found = engine.respond(engine.prefix(tokens), points, ("kl",))["kl"]
    torch.testing.assert_close(
        found, full_responses(engine, tokens, points, ("kl",))["kl"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("push", "nats"), [(10.0, 1e-5), (1e-2, 1e-6), (1e-3, 1e-6)])
def test_kl_is_good_to_1e_6_nats_in_float32(
    push: float, nats: float, make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    # Logits near 100, as GPT-2 has them: there float32 itself is only good to 1e-5.
    monkeypatch.setitem(unembedding.BLOCK_ELEMENTS, "cpu", 2000)
    found = made(make_tiny_model, vocab_size=5000)
    layer = found.model.get_output_embeddings()
    generator = torch.Generator().manual_seed(0)
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    shape = (4, 7, layer.in_features)
    direction = torch.randn(shape, generator=generator) * torch.linspace(0, 1, 7)[:, None]
    hidden = 1 + 3 * torch.randn(4, 1, layer.in_features, generator=generator) + push * direction
    log_p = log_softmax(hidden.double().numpy() @ layer.weight.double().numpy().T, axis=-1)
    wanted = (np.exp(log_p[:, :1]) * (log_p[:, :1] - log_p)).sum(-1)
    kl = found.kl(hidden, Products(found.model))
    np.testing.assert_allclose(kl.numpy(), wanted, rtol=1e-5, atol=nats)
    assert (kl[:, 0] == 0).all()


def test_a_bias_counts(make_tiny_model: Callable[..., Any]):
    found = made(make_tiny_model, "gptj")
    layer = found.model.get_output_embeddings()
    layer.bias.copy_(torch.randn(layer.bias.shape, generator=torch.Generator().manual_seed(0)))
    hidden = torch.randn(2, 5, layer.in_features, generator=torch.Generator().manual_seed(1))
    log_p = layer(hidden).double().log_softmax(-1)
    wanted = (log_p[:, :1].exp() * (log_p[:, :1] - log_p)).sum(-1)
    torch.testing.assert_close(found.kl(hidden, Products(found.model)), wanted, rtol=1e-5, atol=1e-6)
