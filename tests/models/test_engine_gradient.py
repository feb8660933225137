"""States along a path, and the gradient of responses with respect to its points, against plain full passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES
from plateau_lens import ConfigError, EngineError, SuffixEngine
from plateau_lens.models.attention import step_attention
from plateau_lens.responses.l2 import L2

TOKENS = torch.randint(5, 200, (2, 7), generator=torch.Generator().manual_seed(4))
LATER = {"blocks.1.hook_resid_post": 2, "resid_pre.3": 3, "layers.3": 4}
"""Read sites, and how many blocks are before them."""


def points_of(engine: SuffixEngine) -> Tensor:
    base = engine.site_activations(TOKENS)
    return base[:, None] + torch.linspace(0, 1.2, 4)[:, None].to(base) * (base.roll(1, 0) - base)[:, None]


def full_pass(model: Any, blocks: Any, points: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each block gives of the last token [pair, step, d_model], and logits; pushed before block 1."""
    states: list[list[Tensor]] = [[] for _ in blocks]
    logits: list[Tensor] = []
    for prompt, pushed in zip(TOKENS, points, strict=True):

        def push(_: Any, args: Any, kwargs: Any, pushed: Tensor = pushed) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]
            hidden = torch.cat([hidden[:, :-1], pushed[:, None]], dim=1)
            return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

        def keep(index: int) -> Callable[..., None]:
            return lambda _, __, out: states[index].append((out[0] if isinstance(out, tuple) else out)[:, -1])

        handles = [blocks[1].register_forward_pre_hook(push, with_kwargs=True)]
        handles += [block.register_forward_hook(keep(index)) for index, block in enumerate(blocks)]
        try:
            logits.append(model(prompt.expand(len(pushed), -1), use_cache=False).logits[:, -1])
        finally:
            for handle in handles:
                handle.remove()
    return [torch.stack(each) for each in states], torch.stack(logits)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gptj"])
def test_states_and_gradients_are_the_full_passs(
    architecture: str, make_tiny_model: Callable[..., Any], blocks_of: Callable[..., Any]
):
    model = make_tiny_model(architecture).double()
    limit = ARCHITECTURES[architecture].float64
    assert limit is not None
    engine = SuffixEngine(model)
    points = points_of(engine).requires_grad_()
    prefix = engine.prefix(TOKENS)
    wanted, logits = full_pass(model, blocks_of(model, architecture), points)
    if engine.centre:
        wanted = [state - state.mean(-1, keepdim=True) for state in wanted]

    found = engine.states(prefix, points, list(LATER))
    assert list(found) == list(LATER)
    for name, before in LATER.items():
        assert not found[name].requires_grad
        torch.testing.assert_close(found[name], wanted[before - 1], rtol=0, atol=limit * 10)

    log_p = logits.log_softmax(-1)
    # A step's own weight, so that gradients of steps cannot be exchanged; the norm at step 0 has none.
    weight = torch.arange(1.0, 1 + points.shape[1], dtype=torch.float64)
    moved = (wanted[3] - wanted[3][:, :1])[:, 1:].norm(dim=-1)
    curves = {
        "l2": torch.cat([torch.zeros(len(TOKENS), 1).double(), moved], dim=1),
        "kl": (log_p[:, :1].exp() * (log_p[:, :1] - log_p)).sum(-1),
    }
    responses = engine.respond(prefix, points, ("l2", "kl"), grad=True)
    for name, curve in curves.items():
        (one,) = torch.autograd.grad((responses[name] * weight).sum(), points, retain_graph=True)
        (other,) = torch.autograd.grad((curve * weight).sum(), points, retain_graph=True)
        assert other.abs().amax(-1).min() > 1e-4, f"{name}: the oracle's own gradient is nothing"
        torch.testing.assert_close(one, other, rtol=0, atol=10 * limit * float(other.abs().max()))


def test_states_within_blocks_and_logits_have_gradients_too(make_tiny_model: Callable[..., Any]):
    # At the last block's middle: state of the MLP's output by hand, gradient by differences in float64.
    engine = SuffixEngine(make_tiny_model("llama").double(), "resid_mid.3")
    points, prefix = points_of(engine)[:, :2].requires_grad_(), engine.prefix(TOKENS)
    block = engine.blocks[3]
    found = engine.states(prefix, points, ["mlp_out.3"], grad=True)["mlp_out.3"]
    wanted = block.mlp(block.post_attention_layernorm(points))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    one, other = (torch.autograd.grad(each.pow(2).sum(), points)[0] for each in (found, wanted))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * float(other.abs().max()))
    logits = engine.logits(prefix, points, grad=True)
    wanted = engine.model.lm_head(
        engine.model.model.norm(points + block.mlp(block.post_attention_layernorm(points)))
    )
    one, other = (torch.autograd.grad(each.pow(2).sum(), points)[0] for each in (logits, wanted))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * float(other.abs().max()))


def test_weights_are_constants_and_stay_as_they_were(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2").requires_grad_(True)
    engine = SuffixEngine(model)
    points = points_of(engine).requires_grad_()
    engine.respond(engine.prefix(TOKENS), points, grad=True)["l2"].sum().backward()
    assert points.grad is not None
    assert points.grad.abs().sum() > 0
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_responses_are_the_same_with_and_without(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("gemma2").double(), max_rows=3)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    plain = engine.respond(prefix, points)
    recorded = engine.respond(prefix, points.clone().requires_grad_(), grad=True)
    for name, curve in plain.items():
        assert recorded[name].requires_grad
        assert not curve.requires_grad
        torch.testing.assert_close(recorded[name].detach(), curve, rtol=0, atol=1e-6 * float(curve.max()))


def test_a_wrong_gradient_is_refused(make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    def blind(module: Any, query: Tensor, *args: Any, **kwargs: Any) -> Any:
        return step_attention(module, query.detach(), *args, **kwargs)

    monkeypatch.setattr("plateau_lens.models.attention.step_attention", blind)
    engine = SuffixEngine(make_tiny_model("gpt2"))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    assert engine.respond(prefix, points)["l2"].max() > 0
    with pytest.raises(EngineError, match=r"has no gradient here: .*each step alone.*use grad=False"):
        engine.respond(prefix, points.requires_grad_(), grad=True)


def test_what_has_no_gradient_says_so(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("gpt2"))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    with pytest.raises(ConfigError, match=r"points require no gradient; call points\.requires_grad_\(\)"):
        engine.respond(prefix, points, grad=True)
    points.requires_grad_()
    with pytest.raises(ConfigError, match="response 'js' has no gradient: "):
        engine.respond(prefix, points, ("js",), grad=True)

    class Counted(L2):
        def of(self, seen: Tensor) -> Tensor:
            return (seen > 0).sum(-1)

    with pytest.raises(ConfigError, match="response 'positive' has no gradient: nothing of what it reads"):
        engine.respond(prefix, points, {"positive": Counted()}, grad=True)
    with pytest.raises(ConfigError, match=r"'layers\.3' is one name; pass a list"):
        engine.states(prefix, points, "layers.3")
    with pytest.raises(ConfigError, match="no sites to read"):
        engine.states(prefix, points, [])
    with pytest.raises(ConfigError, match=r"blocks\.0\.hook_resid_post is not behind the site"):
        engine.states(prefix, points, ["layers.0"])
