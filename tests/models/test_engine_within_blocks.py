"""Sites within a block: what attention adds, the stream between the two parts, and what the MLP adds.

The oracle is a plain full pass of each step. What a push does inside its block is worked out by hand, from the block's
own modules by their names; the block's output at the last token is overwritten with it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES
from plateau_lens import ConfigError, SuffixEngine
from plateau_lens.models.check import check
from plateau_lens.responses.kl import KL
from plateau_lens.responses.l2 import L2

TOKENS = torch.randint(5, 200, (2, 7), generator=torch.Generator().manual_seed(4))
L, READ = 1, 2

WITHIN = ("hook_attn_out", "hook_resid_mid", "hook_mlp_out")
SEQUENTIAL, PARALLEL = ("gpt2", "llama", "gemma2"), ("gpt_neox",)


class ByHand:
    """One block's parts, by the names that its architecture gives them."""

    def __init__(self, architecture: str, block: Any):
        self.block = block
        if architecture == "gpt2":
            self.attention, self.mlp = block.attn, block.mlp
            self.mlp_branch = lambda x: block.mlp(block.ln_2(x))
        elif architecture == "llama":
            self.attention, self.mlp = block.self_attn, block.mlp
            self.mlp_branch = lambda x: block.mlp(block.post_attention_layernorm(x))
        elif architecture == "gemma2":  # the norms behind the parts belong to them, as in TransformerLens
            self.attention, self.mlp = block.post_attention_layernorm, block.post_feedforward_layernorm
            self.mlp_branch = lambda x: block.post_feedforward_layernorm(
                block.mlp(block.pre_feedforward_layernorm(x))
            )
        else:  # side by side: the MLP reads the block's input
            assert architecture == "gpt_neox"
            self.attention, self.mlp = block.attention, block.mlp


class Seen(dict[str, Tensor]):
    """What hooks saw of the last token, by TransformerLens' names."""


def watch(stack: ExitStack, part: ByHand, seen: Seen) -> None:
    """Note what is at a block's sites."""

    def first(result: Any) -> Tensor:
        return (result[0] if isinstance(result, tuple) else result)[:, -1]

    def enter(_: Any, args: Any, kwargs: Any) -> None:
        seen["hook_resid_pre"] = (args[0] if args else kwargs["hidden_states"])[:, -1]

    def keep(name: str) -> Callable[..., None]:
        return lambda _, __, result: seen.__setitem__(name, first(result))

    stack.callback(part.block.register_forward_pre_hook(enter, with_kwargs=True).remove)
    for name, module in (("hook_attn_out", part.attention), ("hook_mlp_out", part.mlp)):
        stack.callback(module.register_forward_hook(keep(name)).remove)


def pushed_by_hand(hook: str, part: ByHand, plain: Seen, points: Tensor) -> Tensor:
    """The block's output at the last token, with ``points`` at one of its sites."""
    x = plain["hook_resid_pre"]
    if hook == "hook_mlp_out":
        return x + plain["hook_attn_out"] + points
    if hook == "hook_attn_out" and not hasattr(part, "mlp_branch"):
        return x + points + plain["hook_mlp_out"]
    middle = points if hook == "hook_resid_mid" else x + points
    return middle + part.mlp_branch(middle)


@torch.no_grad()
def full_pass(
    model: Any, blocks: Any, architecture: str, hook: str, points: Tensor
) -> list[tuple[Seen, Tensor]]:
    """For each prompt, what is at the sites of block READ [step, d_model], and the logits [step, vocab]."""
    found: list[tuple[Seen, Tensor]] = []
    part, later = ByHand(architecture, blocks[L]), ByHand(architecture, blocks[READ])
    for prompt, path in zip(TOKENS, points, strict=True):
        rows, plain, seen = prompt.expand(len(path), -1), Seen(), Seen()
        with ExitStack() as stack:
            watch(stack, part, plain)
            model(rows, use_cache=False)
        output = pushed_by_hand(hook, part, plain, path)

        def push(_: Any, __: Any, result: Any, output: Tensor = output) -> Any:
            stream = (result[0] if isinstance(result, tuple) else result).clone()
            stream[:, -1] = output
            return (stream, *result[1:]) if isinstance(result, tuple) else stream

        with ExitStack() as stack:
            watch(stack, later, seen)
            stack.callback(blocks[L].register_forward_hook(push).remove)
            logits = model(rows, use_cache=False).logits[:, -1]
        seen["hook_resid_mid"] = seen["hook_resid_pre"] + seen["hook_attn_out"]
        found.append((seen, logits))
    return found


def points_of(engine: SuffixEngine) -> Tensor:
    base = engine.site_activations(TOKENS)
    return base[:, None] + torch.linspace(0, 1.2, 4)[:, None].to(base) * (base.roll(1, 0) - base)[:, None]


CASES = [(a, hook) for a in SEQUENTIAL for hook in WITHIN] + [
    (a, hook) for a in PARALLEL for hook in ("hook_attn_out", "hook_mlp_out")
]


@pytest.mark.parametrize(("architecture", "hook"), CASES)
def test_pushed_and_read_within_blocks_as_in_a_full_pass(
    architecture: str, hook: str, make_tiny_model: Callable[..., Any], blocks_of: Callable[..., Any]
):
    model = make_tiny_model(architecture).double()
    engine = SuffixEngine(model, f"blocks.{L}.{hook}")
    readable = WITHIN if architecture in SEQUENTIAL else ("hook_attn_out", "hook_mlp_out")
    sites = {name: L2(site=f"blocks.{READ}.{name}") for name in readable}
    blocks, limit = blocks_of(model, architecture), ARCHITECTURES[architecture].float64
    assert limit is not None
    there = Seen()
    with ExitStack() as stack, torch.no_grad():
        watch(stack, ByHand(architecture, blocks[L]), there)
        model(TOKENS, use_cache=False)
    there["hook_resid_mid"] = there["hook_resid_pre"] + there["hook_attn_out"]
    base = there[hook] - there[hook].mean(-1, keepdim=True) if engine.centre else there[hook]
    torch.testing.assert_close(engine.site_activations(TOKENS), base, rtol=0, atol=1e-12)

    points = points_of(engine)
    found = engine.respond(engine.prefix(TOKENS), points, {**sites, "kl": KL()})
    for pair, (seen, logits) in enumerate(full_pass(model, blocks, architecture, hook, points)):
        log_p = logits.log_softmax(-1)
        wanted = {"kl": (log_p[0].exp() * (log_p[0] - log_p)).sum(-1)}
        for name in readable:
            state = seen[name] - seen[name].mean(-1, keepdim=True) if engine.centre else seen[name]
            wanted[name] = (state - state[0]).norm(dim=-1)
        for name, curve in wanted.items():
            assert curve[-1] > 1e-3, f"{name}: the oracle's own curve is flat"
            torch.testing.assert_close(found[name][pair], curve, rtol=0, atol=limit * float(curve.max()))


@pytest.mark.parametrize("hook", ["hook_resid_mid", "hook_mlp_out"])
def test_the_check_holds_within_blocks(hook: str, make_tiny_model: Callable[..., Any]):
    report = check(SuffixEngine(make_tiny_model("gpt2"), f"blocks.{L}.{hook}"), n_pairs=2, n_steps=3)
    assert report.passed
    assert ("patch at every position" in {finding.name for finding in report.findings}) is (
        hook == "hook_resid_mid"
    )


def test_a_block_whose_parts_stand_side_by_side_has_no_middle(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt_neox")
    legal = "legal: blocks.1.hook_resid_pre, blocks.1.hook_resid_post, blocks.1.hook_attn_out, blocks.1.hook_mlp_out"
    with pytest.raises(ConfigError, match=rf"has no blocks\.1\.hook_resid_mid: .*side by side.*{legal}"):
        SuffixEngine(model, "blocks.1.hook_resid_mid")
    engine = SuffixEngine(model, "blocks.1.hook_attn_out")
    with pytest.raises(ConfigError, match=r"mlp_out is not behind the site .*side by side"):
        engine.read_sites({"l2": L2(site="blocks.1.hook_mlp_out")})
    with pytest.raises(ConfigError, match=r"has no blocks\.2\.hook_resid_mid"):
        engine.respond(engine.prefix(TOKENS), points_of(engine), {"l2": L2(site="resid_mid.2")})


def test_parts_that_are_scaled_behind_their_output_are_no_sites(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("granite")
    with pytest.raises(
        ConfigError, match=r"has no blocks\.1\.hook_mlp_out: .*scaled.*legal: .*hook_resid_post$"
    ):
        SuffixEngine(model, "mlp_out.1")
    with pytest.raises(ConfigError, match=r"has no blocks\.2\.hook_attn_out"):
        SuffixEngine(model, read_site="attn_out.2")


def test_a_prefix_of_a_site_of_the_stream_lacks_what_enters_the_block(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2")
    engine, plain = SuffixEngine(model, "attn_out.1"), SuffixEngine(model, "resid_pre.1")
    with pytest.raises(ConfigError, match=r"lacks the last token's stream before block 1; make it with this"):
        engine.respond(plain.prefix(TOKENS), points_of(engine))
    # The other part of the same block has the same stream before it.
    other = SuffixEngine(model, "mlp_out.1")
    points = points_of(other)
    found = other.respond(engine.prefix(TOKENS), points)["l2"]
    assert torch.equal(found, other.respond(other.prefix(TOKENS), points)["l2"])


def test_a_model_that_adds_in_place_leaves_the_points_alone(make_tiny_model: Callable[..., Any]):
    # Falcon's block adds attention to what its MLP gave, in that tensor.
    engine = SuffixEngine(make_tiny_model("falcon"), "mlp_out.1")
    points = points_of(engine)
    before = points.clone()
    assert engine.respond(engine.prefix(TOKENS), points)["l2"].max() > 0
    assert torch.equal(points, before)


def test_sites_are_found_again_in_a_model_that_changed(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2")
    engine = SuffixEngine(model, "mlp_out.1", "resid_mid.2")
    points = points_of(engine)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    found = engine.respond(engine.prefix(TOKENS), points)["l2"]
    again = SuffixEngine(model, "mlp_out.1", "resid_mid.2")
    torch.testing.assert_close(found, again.respond(again.prefix(TOKENS), points)["l2"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
