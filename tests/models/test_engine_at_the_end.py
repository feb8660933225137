"""Pushes behind the last block, against full passes and against what is left of the model there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from architectures import ARCHITECTURES, VOCAB
from plateau_lens import ConfigError
from plateau_lens.models.check import check
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.suffix import SuffixEngine
from plateau_lens.models.unembedding import Unembedding

END = "blocks.last.hook_resid_post"
SOME = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma3", "cohere", "gptj")


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(5, VOCAB, (3, 9), generator=torch.Generator().manual_seed(1))


def paths(base: torch.Tensor) -> torch.Tensor:
    share = torch.linspace(0, 1.2, 8, dtype=base.dtype)[:, None]
    return base[:, None] + share * (base.roll(1, dims=0) - base)[:, None]


def by_full_passes(
    model: Any, last: Any, tokens: torch.Tensor, points: torch.Tensor
) -> dict[str, np.ndarray]:
    """KL and JS, every step a whole prompt, with a hook of our own on the last block's output and scipy's distances."""
    kl, js = [], []
    for prompt, pushed in zip(tokens, points, strict=True):

        def push(_: Any, __: Any, out: Any, pushed: Any = pushed) -> Any:
            hidden = (out[0] if isinstance(out, tuple) else out).clone()
            hidden[:, -1] = pushed
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        handle = last.register_forward_hook(push)
        try:
            with torch.no_grad():
                logits = model(prompt.expand(len(pushed), -1), use_cache=False).logits[:, -1].double()
        finally:
            handle.remove()
        log_p = logits.log_softmax(dim=-1)
        p = log_p.exp().numpy()
        kl.append([(p[0] * (log_p[0] - row).numpy()).sum() for row in log_p])
        js.append([jensenshannon(p[0], row, base=2) for row in p])
    return {"kl": np.array(kl), "js": np.array(js)}


@pytest.mark.parametrize("architecture", SOME)
def test_equals_full_passes(
    architecture: str,
    tokens: torch.Tensor,
    make_tiny_model: Callable[..., Any],
    blocks_of: Callable[..., Any],
):
    model = make_tiny_model(architecture).double()
    engine = SuffixEngine(model, END)
    assert engine.at_end
    assert str(engine.site) == "blocks.3.hook_resid_post"
    assert engine.centre is ARCHITECTURES[architecture].centred
    points = paths(engine.site_activations(tokens))
    found = engine.respond(engine.prefix(tokens), points, ("kl", "js"))
    wanted = by_full_passes(model, blocks_of(model, architecture)[3], tokens, points)
    slow = full_responses(engine, tokens, points, ("kl", "js"))
    for name, limit in {"kl": 1e-6, "js": 1e-4}.items():
        assert (wanted[name].max(axis=1) > 1e-3).all(), "the oracle's own curves are flat"
        for each in (found, slow):
            np.testing.assert_allclose(
                each[name].numpy(), wanted[name], rtol=0, atol=limit * wanted[name].max()
            )


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_activations_there_are_the_last_blocks_output(
    architecture: str,
    tokens: torch.Tensor,
    make_tiny_model: Callable[..., Any],
    blocks_of: Callable[..., Any],
):
    model = make_tiny_model(architecture).double()
    seen: list[torch.Tensor] = []
    handle = blocks_of(model, architecture)[3].register_forward_hook(
        lambda _, __, out: seen.append((out[0] if isinstance(out, tuple) else out)[:, -1])
    )
    with torch.no_grad():
        model(tokens, use_cache=False)
    handle.remove()
    wanted = seen[0]
    if ARCHITECTURES[architecture].centred:
        wanted = wanted - wanted.mean(dim=-1, keepdim=True)
    found = SuffixEngine(model, END).site_activations(tokens)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma3", "gptj"])
def test_the_check_passes_there_without_what_reads_the_stream(
    architecture: str, make_tiny_model: Callable[..., Any]
):
    report = check(SuffixEngine(make_tiny_model(architecture), END))
    assert report.passed, [finding for finding in report.findings if not finding.passed]
    names = {finding.name for finding in report.findings}
    assert {"full pass, KL", "full pass, JS", "non-zero push, KL", "patch at every position"} <= names
    assert "full pass, L2" not in names


def test_the_check_can_fail_there(make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    engine = SuffixEngine(make_tiny_model("llama"), END)
    assert check(engine).passed  # lengths that are new are proved first, which would refuse them
    right = Unembedding.logits
    monkeypatch.setattr(Unembedding, "logits", lambda self, hidden: 1.01 * right(self, hidden))
    assert "zero push, logits" in {each.name for each in check(engine).findings if not each.passed}


@pytest.mark.parametrize("read_site", ["auto", "blocks.3.hook_resid_post", "blocks.1.hook_resid_post"])
def test_there_is_no_stream_behind_it_to_read(
    read_site: str, tokens: torch.Tensor, make_tiny_model: Callable[..., Any]
):
    model = make_tiny_model("llama")
    said = r"nothing is read behind blocks\.3\.hook_resid_post, .*measure responses of the output .*kl"
    if read_site != "auto":
        with pytest.raises(ConfigError, match=said):
            SuffixEngine(model, END, read_site)
        return
    engine = SuffixEngine(model, END)
    points = paths(engine.site_activations(tokens))
    with pytest.raises(ConfigError, match=said):
        engine.respond(engine.prefix(tokens), points, ("l2", "kl"))


def test_an_engine_at_another_site_is_as_one_made_there(
    tokens: torch.Tensor, make_tiny_model: Callable[..., Any]
):
    model = make_tiny_model("gpt2")
    first = SuffixEngine(
        model, "blocks.1.hook_resid_pre", "blocks.2.hook_resid_post", centre=False, max_rows=7
    )
    for site, read_site in (("blocks.2.hook_resid_pre", "blocks.2.hook_resid_post"), (END, "auto")):
        other, fresh = first.at(site), SuffixEngine(model, site, read_site, centre=False)
        assert (other.site, other.read_site, other.centre) == (fresh.site, fresh.read_site, False)
        points = paths(fresh.site_activations(tokens))
        found, wanted = (each.respond(each.prefix(tokens), points, ("kl",))["kl"] for each in (other, fresh))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    with pytest.raises(ConfigError, match="not behind the site"):
        first.at("blocks.3.hook_resid_pre")
