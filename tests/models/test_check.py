"""The engine's self-check: passes where it should, and fails where somebody breaks the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from plateau_lens.models import attention
from plateau_lens.models.attention import step_attention
from plateau_lens.models.check import check
from plateau_lens.models.suffix import SuffixEngine
from plateau_lens.models.unembedding import Unembedding


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "gemma3"])
def test_passes_on_good_models(architecture: str, dtype: torch.dtype, make_tiny_model: Callable[..., Any]):
    report = check(SuffixEngine(make_tiny_model(architecture).to(dtype)))
    assert report.passed, [finding for finding in report.findings if not finding.passed]
    names = [finding.name for finding in report.findings]
    assert {"full pass, L2", "full pass, KL", "full pass, JS"} <= set(names)
    assert ("centred stream, logits" in names) is report.centred
    assert report.attention == "parallel steps"
    assert report.site == "blocks.1.hook_resid_pre"
    assert report.read_site == "blocks.3.hook_resid_post"


def test_tells_of_an_attention_of_its_own(make_tiny_model: Callable[..., Any]):
    report = check(SuffixEngine(make_tiny_model("gptj")))
    assert report.passed
    assert report.attention == "the model's own, masked"


def test_passes_in_bfloat16(make_tiny_model: Callable[..., Any]):
    assert check(SuffixEngine(make_tiny_model("llama").to(torch.bfloat16))).passed


def neighbours_too(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
    """Steps that see their neighbour's key and value in place of their own."""
    return step_attention(module, query, key.roll(1, dims=2), value.roll(1, dims=2), mask, **kwargs)


def blind(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
    """Steps that see the last three tokens alone."""
    kwargs["sliding_window"] = 3
    return step_attention(module, query, key, value, mask, **kwargs)


def unscaled(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
    """Scores that are 10 % too large."""
    kwargs["scaling"] *= 1.1
    return step_attention(module, query, key, value, mask, **kwargs)


@pytest.mark.parametrize(
    ("sabotage", "notices"),
    [
        (neighbours_too, {"full pass, L2", "full pass, KL", "steps kept apart"}),
        (blind, {"full pass, L2", "full pass, KL", "zero push, logits"}),
        (unscaled, {"full pass, L2", "full pass, KL", "zero push, logits"}),
    ],
)
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma3"])
def test_fails_on_a_wrong_attention(
    architecture: str,
    sabotage: Callable[..., Any],
    notices: set[str],
    make_tiny_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    engine = SuffixEngine(make_tiny_model(architecture))
    assert check(engine).passed
    monkeypatch.setattr(attention, "step_attention", sabotage)
    report = check(engine)
    assert not report.passed
    assert notices <= {finding.name for finding in report.findings if not finding.passed}


def test_fails_on_a_wrong_unembedding(make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    engine = SuffixEngine(make_tiny_model("llama"))
    assert check(engine).passed
    right, right_kl = Unembedding.logits, Unembedding.kl
    with monkeypatch.context() as patch:
        patch.setattr(Unembedding, "logits", lambda self, hidden: 1.01 * right(self, hidden))
        assert "zero push, logits" in {each.name for each in check(engine).findings if not each.passed}
    # The engine has compared it with its definition already, and would not use it otherwise.
    monkeypatch.setattr(Unembedding, "kl", lambda self, *arguments: 1.01 * right_kl(self, *arguments))
    assert {each.name for each in check(engine).findings if not each.passed} == {"full pass, KL"}


def test_fails_on_a_wrong_position(make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    engine = SuffixEngine(make_tiny_model("llama"))
    right = engine.prefix

    def one_late(tokens: torch.Tensor) -> Any:
        found = right(tokens)
        return replace(found, n_ctx=found.n_ctx + 1)

    monkeypatch.setattr(engine, "prefix", one_late)
    failed = {finding.name for finding in check(engine).findings if not finding.passed}
    assert {"zero push, logits", "full pass, L2"} <= failed


def test_fails_where_a_push_does_nothing(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[:] = model.model.embed_tokens.weight[0].clone()
    # Every token has the same embedding, so the activations of two prompts differ by nothing at block 0.
    report = check(SuffixEngine(model, "blocks.0.hook_resid_pre"))
    assert {finding.name for finding in report.findings if not finding.passed} == {"non-zero push, L2"}


def test_fails_on_a_model_centred_against_its_nature(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    engine.centre = True  # behind its back: asked for openly, it is refused
    report = check(engine)
    failed = {finding.name for finding in report.findings if not finding.passed}
    assert "centred stream, logits" in failed
