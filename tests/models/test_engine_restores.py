"""Whatever a pass puts on a model comes off again, and an intervention that did not fire is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from plateau_lens import ConfigError, EngineError
from plateau_lens.models.attention import step_attention
from plateau_lens.models.check import check
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.interventions import read_input, replaced_input
from plateau_lens.models.suffix import SuffixEngine

TOKENS = torch.randint(5, 200, (3, 8), generator=torch.Generator().manual_seed(2))
ARCHITECTURES = ["gpt2", "llama", "gemma3", "gptj", "mixtral"]


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def marks_left(model: Any) -> list[str]:
    """Hooks, and methods that hide the class's own."""
    found = []
    for name, module in model.named_modules():
        if "forward" in module.__dict__:
            found.append(f"{name}.forward")
        if module._forward_hooks or module._forward_pre_hooks:
            found.append(f"{name} hooks")
    return found


def points_of(engine: SuffixEngine) -> torch.Tensor:
    base = engine.site_activations(TOKENS)
    return torch.stack([base, base.roll(1, 0), 2 * base], dim=1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pass_leaves_the_model_as_it_was(architecture: str, make_tiny_model: Callable[..., Any]):
    model = make_tiny_model(architecture)
    marks, attention, before = marks_left(model), model.config._attn_implementation, logits_of(model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    engine = SuffixEngine(model)
    points = points_of(engine)
    engine.respond(engine.prefix(TOKENS), points, ("l2", "kl", "js"))
    full_responses(engine, TOKENS, points)
    check(engine, n_ctx=8)
    assert marks_left(model) == marks
    assert model.config._attn_implementation == attention
    assert torch.equal(logits_of(model), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("broken", [1, 2])
def test_a_pass_that_fails_leaves_the_model_as_it_was(
    architecture: str, broken: int, make_tiny_model: Callable[..., Any], blocks_of: Callable[..., Any]
):
    model = make_tiny_model(architecture)
    attention, before = model.config._attn_implementation, logits_of(model)
    engine = SuffixEngine(model)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    marks = marks_left(model)

    def explode(*_: Any) -> None:
        raise RuntimeError("it broke")

    for call in (
        lambda: engine._steps.run(prefix, points, read=(), final=True),
        lambda: engine.respond(engine.prefix(TOKENS), points),
        lambda: engine.prefix(TOKENS),
        lambda: full_responses(engine, TOKENS, points),
    ):
        handle = blocks_of(model, architecture)[broken].register_forward_hook(explode)
        with pytest.raises((RuntimeError, EngineError), match="it broke"):
            call()
        handle.remove()
        assert marks_left(model) == marks
        assert model.config._attn_implementation == attention
        assert torch.equal(logits_of(model), before)
    torch.testing.assert_close(
        engine.respond(prefix, points)["l2"],
        full_responses(engine, TOKENS, points)["l2"],
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_failing_unembedding_leaves_the_model_as_it_was(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    before = logits_of(model)
    engine = SuffixEngine(model)
    points, prefix = points_of(engine), engine.prefix(TOKENS)

    def explode(*_: Any) -> None:
        raise RuntimeError("it broke")

    handle = model.lm_head.register_forward_hook(explode)
    with pytest.raises(EngineError, match="it broke"):
        engine.respond(prefix, points, ("l2", "js"))
    handle.remove()
    assert marks_left(model) == []
    assert torch.equal(logits_of(model), before)


def test_a_users_own_hooks_stay_and_are_obeyed(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    handle = model.model.layers[2].register_forward_hook(lambda _, __, out: out * 1.1)
    engine = SuffixEngine(model)
    points = points_of(engine)
    found = engine.respond(engine.prefix(TOKENS), points)["l2"]
    torch.testing.assert_close(found, full_responses(engine, TOKENS, points)["l2"], rtol=1e-5, atol=1e-5)
    assert marks_left(model) == ["model.layers.2 hooks"]
    handle.remove()


def test_a_forward_that_others_put_on_a_block_is_put_back(make_tiny_model: Callable[..., Any]):
    # accelerate moves weights between devices this way.
    model = make_tiny_model("llama")
    block = model.model.layers[0]
    plain = block.forward
    calls: list[int] = []

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return plain(*args, **kwargs)

    block.forward = wrapped
    engine = SuffixEngine(model)
    engine.respond(engine.prefix(TOKENS), points_of(engine))
    assert block.__dict__.get("forward") is wrapped
    calls.clear()
    logits_of(model)
    assert calls == [1]


def replace_blocks(model: Any, make_tiny_model: Callable[..., Any]) -> None:
    """Give the model other blocks than those the engine holds, so that its hooks are on dead wood."""
    model.model.layers = make_tiny_model("llama").model.layers


def test_an_intervention_that_does_not_fire_is_an_error(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    engine = SuffixEngine(model)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    replace_blocks(model, make_tiny_model)
    with pytest.raises(EngineError, match=r"fired 0 times in one pass, expected 1.*make a new engine"):
        engine.site_activations(TOKENS)
    with pytest.raises(EngineError, match=r"pushing at blocks\.1\.hook_resid_pre fired 0 times"):
        full_responses(engine, TOKENS, points)
    with pytest.raises(EngineError, match="fired 0 times"):
        engine.respond(prefix, points, ("l2",))


def test_a_block_that_bypasses_our_attention_is_an_error(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    engine = SuffixEngine(model)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    # A block of another model keeps that model's own attention, which knows nothing of parallel steps.
    foreign = make_tiny_model("llama").model.layers[2]
    model.model.layers[2] = foreign
    with pytest.raises(ConfigError, match=r"parts of model\.layers changed"):
        engine.respond(prefix, points)
    engine._steps.own_attention = False
    with pytest.raises(EngineError, match="ran 2 times for 3 blocks of LlamaForCausalLM"):
        engine._steps.run(prefix, points, read=(), final=True)
    # A plain mask is obeyed by every block.
    again = SuffixEngine(model)
    assert again.own_attention
    found = again.respond(again.prefix(TOKENS), points)["l2"]
    torch.testing.assert_close(found, full_responses(again, TOKENS, points)["l2"], rtol=1e-5, atol=1e-5)


def test_firings_are_counted(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    block = model.model.layers[1]
    with read_input(block, position=-1) as reading:
        logits_of(model)
        logits_of(model)
    assert reading.count == 2
    with pytest.raises(EngineError, match="here fired 2 times in one pass, expected 1"):
        reading.require("here")
    reading.require("here", times=2)
    with replaced_input(block, torch.zeros(1, 8, 32)) as pushing:
        pass
    with pytest.raises(EngineError, match="nothing was measured"):
        pushing.require("there")


def test_step_attention_outside_a_pass_says_so():
    q = torch.zeros(1, 2, 3, 4)
    with pytest.raises(RuntimeError, match="needs an active prefix"):
        step_attention(torch.nn.Identity(), q, q, q, None)


def test_shapes_that_do_not_fit_are_named(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    prefix = engine.prefix(TOKENS)
    with pytest.raises(ConfigError, match=r"points are \(3, 4, 16\).*d_model=32.*pass \(3, steps, 32\)"):
        engine.respond(prefix, torch.zeros(3, 4, 16))
    with pytest.raises(ConfigError, match=r"the prefix has 3 pairs"):
        engine.respond(prefix, torch.zeros(2, 4, 32))
    with pytest.raises(ConfigError, match="at least 2"):
        engine.prefix(TOKENS[:, :1])
