"""Narrower products: close to the full ones, refused where they mean nothing, and gone after a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from plateau_lens import ConfigError, SuffixEngine

TOKENS = torch.randint(5, 200, (3, 8), generator=torch.Generator().manual_seed(2))


def points_of(engine: SuffixEngine) -> torch.Tensor:
    base = engine.site_activations(TOKENS)
    return base[:, None] + torch.linspace(0, 1, 6)[:, None] * (base.roll(1, 0) - base)[:, None]


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gptj", "mixtral"])
def test_bfloat16_products_are_near_the_full_ones_and_leave_the_model_alone(
    architecture: str, make_tiny_model: Callable[..., Any]
):
    model = make_tiny_model(architecture)
    weights = {name: weight for name, weight in model.named_parameters()}
    full, narrow = SuffixEngine(model), SuffixEngine(model, matmul="bfloat16")
    points = points_of(full)
    wanted = full.respond(full.prefix(TOKENS), points)
    found = narrow.respond(narrow.prefix(TOKENS), points)
    for name, values in wanted.items():
        error = (found[name] - values).abs().max() / values.max()
        assert 1e-6 < error < 0.05, name  # not the same numbers, but the same curves
    assert all(weight is weights[name] for name, weight in model.named_parameters())
    assert narrow.own_attention is full.own_attention


def test_the_residual_stream_stays_wide(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2")
    engine = SuffixEngine(model, matmul="bfloat16")
    seen: dict[str, torch.dtype] = {}
    handles = [
        engine.blocks[2].register_forward_hook(lambda _, __, out: seen.update(stream=_first(out).dtype)),
        engine.blocks[2].mlp.c_fc.register_forward_hook(lambda _, __, out: seen.update(product=out.dtype)),
    ]
    engine.respond(engine.prefix(TOKENS), points_of(engine))
    for handle in handles:
        handle.remove()
    assert seen == {"stream": torch.float32, "product": torch.bfloat16}


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def test_what_cannot_be_narrowed_is_refused(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2")
    with pytest.raises(ConfigError, match="did you mean 'bfloat16'"):
        SuffixEngine(model, matmul="bfloat")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="CUDA"):
        SuffixEngine(model, matmul="tf32")
    with pytest.raises(ConfigError, match="float32"):
        SuffixEngine(model.double(), matmul="bfloat16")


def test_the_spelled_out_gelu_is_torchs_own(make_tiny_model: Callable[..., Any]):
    from plateau_lens.models.fused import fused, spelled_out

    model = make_tiny_model("gpt2")
    found = spelled_out(model)
    assert len(found) == len(model.transformer.h)
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    before = found[0](x)
    with fused(found):
        torch.testing.assert_close(found[0](x), before, rtol=0, atol=1e-14)
        assert found[0].forward.func is nn.functional.gelu
    assert "forward" not in found[0].__dict__
