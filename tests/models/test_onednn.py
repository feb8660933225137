"""Products by oneDNN: the same numbers, in both layouts, where they are meant to be, and gone after a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from plateau_lens import SuffixEngine
from plateau_lens.models import onednn
from plateau_lens.models.full_pass import full_responses

TOKENS = torch.randint(5, 200, (3, 8), generator=torch.Generator().manual_seed(2))
needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN"
)


@pytest.fixture
def on_any_processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(onednn, "_processor", lambda: "vendor_id: AuthenticAMD")
    onednn.available.cache_clear()
    yield
    onednn.available.cache_clear()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes of the weights of every product by oneDNN."""
    shapes: list[torch.Size] = []
    plain = onednn.product

    def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        shapes.append(weight.shape)
        return plain(x, weight, bias)

    monkeypatch.setattr(onednn, "product", product)
    return shapes


@needs_onednn
@torch.no_grad()
def test_a_layers_stand_in_is_the_layer(on_any_processor: None):
    x = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(1))
    for layer in (nn.Linear(24, 40), nn.Linear(24, 40, bias=False), Conv1D(40, 24)):
        forward = onednn.stand_in(layer)
        assert forward is not None
        torch.testing.assert_close(forward(x), layer(x))


@needs_onednn
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_curves_are_those_of_the_full_pass(
    architecture: str, make_tiny_model: Callable[..., Any], on_any_processor: None, counted: list[torch.Size]
):
    model = make_tiny_model(architecture)
    engine = SuffixEngine(model)
    base = engine.site_activations(TOKENS)
    points = base[:, None] + torch.linspace(0, 1, 6)[:, None] * (base.roll(1, 0) - base)[:, None]
    counted.clear()
    found = engine.respond(engine.prefix(TOKENS), points)
    assert len(counted) > 2 * len(engine.blocks)
    # The oracle computes outside of `Products.computing`: by torch's own products.
    counted.clear()
    wanted = full_responses(engine, TOKENS, points)
    assert not counted
    for name, values in wanted.items():
        assert (found[name] - values).abs().max() <= 1e-5 * values.max() + 1e-5, name
    assert not any("forward" in module.__dict__ for module in model.modules())


@torch.no_grad()
def test_what_it_cannot_do_it_leaves_alone(on_any_processor: None):
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    wrapped = nn.Linear(4, 4)
    wrapped.forward = lambda input: input
    for layer in (Doubled(4, 4), nn.Linear(4, 4).double(), nn.LayerNorm(4), wrapped):
        assert onednn.stand_in(layer) is None
    with torch.enable_grad():
        assert onednn.stand_in(nn.Linear(4, 4)) is None


@torch.no_grad()
def test_other_processors_and_other_operators_are_not_used(
    monkeypatch: pytest.MonkeyPatch, on_any_processor: None
):
    with monkeypatch.context() as patch:
        patch.setattr(
            onednn, "product", lambda x, weight, bias=None: 2 * nn.functional.linear(x, weight, bias)
        )
        assert not onednn.available()  # it computes something else
    onednn.available.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(onednn, "_processor", lambda: "vendor_id: GenuineIntel")
        assert not onednn.available()
