"""What the engine measures is what responses say of themselves: where they read, by which way, in which company."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from plateau_lens import ConfigError, EngineError, SuffixEngine
from plateau_lens.models import suffix
from plateau_lens.models.check import check
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.unembedding import Unembedding
from plateau_lens.responses.js import JS
from plateau_lens.responses.kl import KL
from plateau_lens.responses.l2 import L2
from plateau_lens.responses.registry import RESPONSES, Response, response

TOKENS = torch.randint(5, 200, (3, 8), generator=torch.Generator().manual_seed(2))


def points_of(engine: SuffixEngine) -> torch.Tensor:
    base = engine.site_activations(TOKENS)
    return base[:, None] + torch.linspace(0, 1.2, 7)[:, None] * (base.roll(1, 0) - base)[:, None]


@contextmanager
def runs_of(module: Any) -> Generator[list[int]]:
    """Notes every time that a module runs."""
    runs: list[int] = []
    handle = module.register_forward_hook(lambda *_: runs.append(1))
    try:
        yield runs
    finally:
        handle.remove()


@pytest.fixture
def unembedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pairs of every time that whole logits are made."""
    pairs: list[int] = []
    right = Unembedding.logits

    def counting(self: Unembedding, hidden: torch.Tensor) -> torch.Tensor:
        pairs.append(len(hidden))
        return right(self, hidden)

    monkeypatch.setattr(Unembedding, "logits", counting)
    return pairs


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses of a user's, registered for the length of a test."""
    monkeypatch.setattr(RESPONSES, "_known", dict(RESPONSES.all()))

    @response("max-logit")
    class MaxLogit(Response):
        symbol, reads = "ML", "logits"

        def of(self, seen: torch.Tensor) -> torch.Tensor:
            top = seen.amax(dim=-1)
            return (top - top[:, :1]).abs()

    @response("final-l1")
    class FinalL1(Response):
        reads = "final"

        def of(self, seen: torch.Tensor) -> torch.Tensor:
            return (seen - seen[:, :1]).abs().sum(dim=-1)

    @response("early-l1")
    class EarlyL1(Response):
        reads = "state"
        scale: float = 1.0

        @property
        def read_site(self) -> str:
            return "blocks.1.hook_resid_post"

        def of(self, seen: torch.Tensor) -> torch.Tensor:
            return self.scale * (seen - seen[:, :1]).abs().sum(dim=-1)

    @response("needs-one")
    class NeedsOne(Response):
        """`check` has no value for its parameter, and leaves it out."""

        scale: float


# -- where they read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gptj"])
def test_read_sites_share_one_pass(architecture: str, make_tiny_model: Callable[..., Any]):
    model = make_tiny_model(architecture)
    engine = SuffixEngine(model)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    names = ["blocks.1.hook_resid_post", "blocks.2.hook_resid_pre", "blocks.2.hook_resid_post"]
    wanted = RESPONSES.make({name: {"response": "l2", "site": name} for name in names})
    with runs_of(engine.blocks[2]) as inside, runs_of(engine.blocks[3]) as behind:
        prefix = engine.prefix(TOKENS)
        engine.respond(prefix, points, ())
        inside.clear()
        behind.clear()
        found = engine.respond(prefix, points, wanted)
        assert (inside, behind) == ([1], [])
        together = engine.respond(prefix, points, {**wanted, "l2": L2(), "kl": KL()})
        assert (inside, behind) == ([1, 1], [1])
    prefix = engine.prefix(TOKENS)
    assert list(found) == names
    assert torch.equal(found[names[0]], found[names[1]])  # the same place by two names
    for name in names:
        alone = SuffixEngine(model, read_site=name)
        assert torch.equal(found[name], alone.respond(prefix, points, ("l2",))["l2"])
        assert torch.equal(found[name], together[name])
    assert torch.equal(together["l2"], engine.respond(prefix, points, ("l2",))["l2"])
    slow = full_responses(engine, TOKENS, points, wanted)
    for name in names:
        torch.testing.assert_close(found[name], slow[name], rtol=1e-4, atol=1e-5)
        assert found[name].max() > 0.1


def test_a_read_site_that_is_not_behind_the_site_is_refused_first(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"), "blocks.2.hook_resid_pre")
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    with runs_of(engine.blocks[2]) as runs:
        for site, message in (
            ("blocks.1.hook_resid_post", "not behind the site blocks.2.hook_resid_pre"),
            ("blocks.9.hook_resid_post", "beyond this model"),
            ("blocks.3.hook_resid_past", "did you mean 'blocks.3.hook_resid_post'"),
        ):
            for measure in (
                lambda made: engine.respond(prefix, points, made),
                lambda made: full_responses(engine, TOKENS, points, made),
            ):
                with pytest.raises(ConfigError, match=message):
                    measure({"l2": L2(), "there": L2(site=site)})
    assert not runs


def test_an_unknown_name_is_refused_first(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    with runs_of(engine.blocks[2]) as runs:
        for measure in (
            lambda: engine.respond(prefix, points, ("l2", "kll")),
            lambda: full_responses(engine, TOKENS, points, ("l2", "kll")),
        ):
            with pytest.raises(
                ConfigError, match=r"unknown response 'kll'; did you mean 'kl'\? \(legal: js, kl, l2\)"
            ):
                measure()
    assert not runs


def test_local_attention_behind_the_read_site_is_noticed(make_tiny_model: Callable[..., Any]):
    # Blocks 1 and 3 are local, with a window that the steps outgrow; block 0, read here, attends everywhere.
    engine = SuffixEngine(
        make_tiny_model("gpt_neo-window"), "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post"
    )
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    with pytest.raises(EngineError, match="local attention"):
        engine.respond(prefix, points.repeat(1, 2, 1), ("l2", "kl"))


def test_final_states_are_hugging_faces_last(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama").double())
    seen: list[torch.Tensor] = []

    class Keeping(Response):
        reads = "final"

        def of(self, seen_: torch.Tensor) -> torch.Tensor:
            seen.append(seen_)
            return seen_[..., 0]

    base = engine.site_activations(TOKENS)
    engine.respond(engine.prefix(TOKENS), base[:, None], {"kept": Keeping()})
    with torch.no_grad():
        wanted = engine.model(TOKENS, output_hidden_states=True).hidden_states[-1][:, -1]
    torch.testing.assert_close(seen[0][:, 0], wanted, rtol=0, atol=1e-12)


# -- by which way, in which company -----------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gptj"])
@pytest.mark.parametrize("matmul", ["full", "bfloat16"])
def test_a_response_is_the_same_to_the_bit_in_any_company(
    architecture: str, matmul: Any, make_tiny_model: Callable[..., Any]
):
    engine = SuffixEngine(make_tiny_model(architecture), matmul=matmul)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    everything = engine.respond(prefix, points, ("js", "kl", "l2"))
    assert list(everything) == ["js", "kl", "l2"]
    for names in (("kl",), ("l2", "kl"), ("js",), ("l2",), ("kl", "js")):
        for name, values in engine.respond(prefix, points, names).items():
            assert torch.equal(values, everything[name]), (name, names)


def test_logits_are_made_once_for_all_that_read_them(
    make_tiny_model: Callable[..., Any], unembedded: list[int], monkeypatch: pytest.MonkeyPatch, own: None
):
    capped = SuffixEngine(make_tiny_model("gemma2"))
    points, prefix = points_of(capped), capped.prefix(TOKENS)
    names = ("kl", "js", "max-logit", "l2")
    whole = capped.respond(prefix, points, names)
    unembedded.clear()
    capped.respond(prefix, points, names)
    assert unembedded == [3]
    monkeypatch.setattr(suffix, "LOGITS_ELEMENTS", 2 * 7 * 200)
    blocks = capped.respond(prefix, points, names)
    assert unembedded == [3, 2, 1]
    for name, values in whole.items():
        torch.testing.assert_close(blocks[name], values, rtol=1e-5, atol=1e-6)


def test_none_are_made_where_nobody_reads_them(
    make_tiny_model: Callable[..., Any], unembedded: list[int], own: None
):
    engine = SuffixEngine(make_tiny_model("llama"))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    with runs_of(engine.model.lm_head) as heads:
        prefix = engine.prefix(TOKENS)
        engine.respond(prefix, points, ("kl",))  # its fast way is held against logits the first time
        unembedded.clear()
        heads.clear()
        engine.respond(prefix, points, ("l2", "kl", "final-l1", "early-l1"))
    assert not unembedded
    assert not heads


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gptj"])
def test_kl_goes_the_fast_way_where_the_unembedding_is_linear(
    architecture: str, dtype: torch.dtype, make_tiny_model: Callable[..., Any], unembedded: list[int]
):
    engine = SuffixEngine(make_tiny_model(architecture).to(dtype))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    engine.respond(prefix, points, ("kl",))
    unembedded.clear()
    engine.respond(prefix, points, ("kl",))
    assert not unembedded


class Counted(KL):
    """A KL whose fast way is off by what `error` says, and notes what it is asked for."""

    error: float = 0.0

    def fast(self, final: torch.Tensor, unembedding: Any, products: Any) -> torch.Tensor | None:
        CALLS.append(tuple(final.shape))
        right = super().fast(final, unembedding, products)
        return None if right is None else right * (1 + self.error)


class Misshapen(Counted):
    """A fast way that gives one number a pair."""

    def fast(self, final: torch.Tensor, unembedding: Any, products: Any) -> torch.Tensor | None:
        right = super().fast(final, unembedding, products)
        return None if right is None else right[:, :1]


class AlongPairs(Counted):
    """A fast way that is right for a single pair."""

    def fast(self, final: torch.Tensor, unembedding: Any, products: Any) -> torch.Tensor | None:
        right = super().fast(final, unembedding, products)
        return None if right is None else right[:1].expand(len(right), -1)


CALLS: list[tuple[int, ...]] = []


@pytest.mark.parametrize(
    "wrong", [Counted(error=0.01), Counted(error=float("nan")), Misshapen(), AlongPairs()]
)
def test_a_fast_way_that_is_wrong_is_not_used(wrong: Response, make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    slow = full_responses(engine, TOKENS, points, {"kl": KL()})["kl"]
    CALLS.clear()
    for _ in range(2):
        found = engine.respond(prefix, points, {"wrong": wrong})["wrong"]
        torch.testing.assert_close(found, slow, rtol=1e-4, atol=1e-5)
    assert CALLS == [(3, 3, 32)]  # on the trial's states, once


def test_a_fast_way_that_is_right_is_tried_once_for_all_parameters(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    CALLS.clear()
    for _ in range(2):
        found = engine.respond(
            prefix, points, {"one": Counted(), "other": Counted(), "wrong": Counted(error=1)}
        )
    trial, used = (3, 3, 32), (3, 7, 32)
    assert [trial, used, used, trial, used, used] == CALLS
    assert torch.equal(found["one"], found["other"])
    assert torch.equal(found["one"], engine.respond(prefix, points, ("kl",))["kl"])


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gptj"])
def test_one_of_ones_own_needs_nothing_but_its_class(
    architecture: str, make_tiny_model: Callable[..., Any], own: None
):
    engine = SuffixEngine(make_tiny_model(architecture))
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    names = ("max-logit", "final-l1", "early-l1", "l2")
    fast, slow = engine.respond(prefix, points, names), full_responses(engine, TOKENS, points, names)
    assert list(fast) == list(slow) == list(names)
    for name in names:
        assert fast[name].dtype == slow[name].dtype == torch.float64
        assert fast[name].max() > 0.01
        torch.testing.assert_close(fast[name], slow[name], rtol=1e-4, atol=1e-4)
    doubled = engine.respond(prefix, points, RESPONSES.make({"early-l1": {"scale": 2.0}}))
    assert torch.equal(doubled["early-l1"], 2 * fast["early-l1"])
    report = check(engine)
    assert report.passed, report.findings
    names = [finding.name for finding in report.findings if finding.name.startswith("full pass")]
    assert names == [f"full pass, {each}" for each in ("L2", "KL", "JS", "EARLY-L1", "FINAL-L1", "ML")]


def test_check_notices_one_that_is_wrong(
    make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    engine = SuffixEngine(make_tiny_model("llama"))
    right = JS.of
    monkeypatch.setattr(JS, "of", lambda self, seen: right(self, seen) * (1.01 if len(seen) > 1 else 1))
    assert [each.name for each in check(engine).findings if not each.passed] == ["full pass, JS"]
