"""The suffix engine against plain full forward passes, on random models of many architectures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES, FLOAT32, REFUSED, VOCAB, WINDOW
from plateau_lens import EngineError
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.suffix import SuffixEngine

N_CTX, N_STEPS = 12, 9
NAMED = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma3")
"""Architectures that stand for the others where one of a kind will do."""

SITES = [
    ("blocks.1.hook_resid_pre", "blocks.3.hook_resid_post", 1, 4),
    ("blocks.0.hook_resid_pre", "blocks.1.hook_resid_post", 0, 2),
    ("blocks.2.hook_resid_post", "blocks.3.hook_resid_post", 3, 4),
]


def prompts(n_pairs: int = 3, n_ctx: int = N_CTX, *, seed: int = 1) -> torch.Tensor:
    return torch.randint(5, VOCAB, (n_pairs, n_ctx), generator=torch.Generator().manual_seed(seed))


def paths(base: torch.Tensor, n_steps: int = N_STEPS) -> torch.Tensor:
    """From each base to the next one's, in equal steps, and a little beyond."""
    fraction = torch.linspace(0, 1.2, n_steps + 1, dtype=base.dtype)
    return base[:, None] + fraction[:, None] * (base.roll(1, dims=0) - base)[:, None]


def assert_same(
    found: dict[str, torch.Tensor], wanted: dict[str, np.ndarray], limits: dict[str, float]
) -> None:
    """Every point within a share of its own curve's maximum, and no curve trivial."""
    assert set(found) == set(limits)
    for name, limit in limits.items():
        top = np.nanmax(wanted[name], axis=1, keepdims=True)
        assert (top > 1e-3).all(), f"{name}: the oracle's own curves are flat"
        error = np.abs(found[name].numpy() - wanted[name]) / top
        assert error.max() < limit, f"{name}: {error.max():.2e} of the maximum"


@pytest.mark.parametrize(("site", "read_site", "boundary", "read"), SITES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_the_full_pass_in_float32(
    architecture: str,
    site: str,
    read_site: str,
    boundary: int,
    read: int,
    make_tiny_model: Callable[..., Any],
    blocks_of: Callable[..., Any],
    oracle: Callable[..., dict[str, np.ndarray]],
):
    model = make_tiny_model(architecture)
    engine = SuffixEngine(model, site, read_site)
    assert boundary == 0 or engine.centre is ARCHITECTURES[architecture].centred
    assert engine.own_attention is ARCHITECTURES[architecture].own_attention
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    found = engine.respond(engine.prefix(tokens), points, ("l2", "kl", "js"))
    blocks = blocks_of(model, architecture)
    wanted = oracle(model, blocks, tokens, points, site=boundary, read=read, centre=engine.centre)
    assert_same(found, wanted, FLOAT32)


@pytest.mark.parametrize("architecture", [name for name, row in ARCHITECTURES.items() if row.float64])
def test_equals_the_full_pass_in_float64(
    architecture: str,
    make_tiny_model: Callable[..., Any],
    blocks_of: Callable[..., Any],
    oracle: Callable[..., dict[str, np.ndarray]],
):
    model = make_tiny_model(architecture).double()
    model.set_experts_implementation("eager")  # torch's grouped matrix product takes no float64
    engine = SuffixEngine(model, "blocks.1.hook_resid_pre")
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    found = engine.respond(engine.prefix(tokens), points, ("l2", "kl"))
    blocks = blocks_of(model, architecture)
    wanted = oracle(model, blocks, tokens, points, site=1, read=4, centre=engine.centre)
    limit = ARCHITECTURES[architecture].float64
    assert limit is not None
    assert_same(found, wanted, {"l2": limit, "kl": limit})


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma3", "gptj"])
def test_the_librarys_own_slow_way_agrees_with_both(
    architecture: str,
    make_tiny_model: Callable[..., Any],
    blocks_of: Callable[..., Any],
    oracle: Callable[..., dict[str, np.ndarray]],
):
    model = make_tiny_model(architecture)
    engine = SuffixEngine(model, "blocks.2.hook_resid_pre")
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    slow = full_responses(engine, tokens, points, ("l2", "kl", "js"))
    wanted = oracle(
        model, blocks_of(model, architecture), tokens, points, site=2, read=4, centre=engine.centre
    )
    assert_same(slow, wanted, FLOAT32)


@pytest.mark.parametrize("architecture", NAMED)
@pytest.mark.parametrize(
    ("site", "index"),
    [
        ("blocks.0.hook_resid_pre", 0),
        ("blocks.1.hook_resid_pre", 1),
        ("blocks.1.hook_resid_post", 2),
        ("blocks.3.hook_resid_pre", 3),
    ],
)
def test_site_activations_are_hugging_faces_hidden_states(
    architecture: str, site: str, index: int, make_tiny_model: Callable[..., Any]
):
    model = make_tiny_model(architecture).double()
    tokens = prompts(5)
    engine = SuffixEngine(model, site)
    with torch.no_grad():
        wanted = model(tokens, output_hidden_states=True).hidden_states[index][:, -1]
    if ARCHITECTURES[architecture].centred:
        wanted = wanted - wanted.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(engine.site_activations(tokens), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "architecture",
    [name for name, row in ARCHITECTURES.items() if row.config.get("sliding_window") == WINDOW],
)
def test_the_sliding_window_matters_here(architecture: str, make_tiny_model: Callable[..., Any]):
    # Else the tests above would pass with an engine that knows no window.
    windowed, wide = make_tiny_model(architecture), make_tiny_model(architecture, sliding_window=100)
    tokens = prompts()
    with torch.no_grad():
        assert (windowed(tokens).logits - wide(tokens).logits)[:, -1].abs().max() > 1e-2


@pytest.mark.parametrize("architecture", ["gpt2", "gemma3", "mixtral", "gptj"])
def test_results_do_not_depend_on_how_pairs_are_batched(
    architecture: str, make_tiny_model: Callable[..., Any]
):
    model = make_tiny_model(architecture)
    tokens = prompts(7)
    engines = [SuffixEngine(model, max_rows=rows) for rows in (1, N_STEPS + 1, 3 * (N_STEPS + 1) + 2, None)]
    points = paths(engines[0].site_activations(tokens))
    found = [engine.respond(engine.prefix(tokens), points, ("l2", "kl", "js")) for engine in engines]
    for name, limit in {"l2": 1e-6, "kl": 1e-5, "js": 1e-4}.items():
        for other in found[1:]:
            error = (other[name] - found[0][name]).abs() / found[0][name].amax(dim=1, keepdim=True)
            assert error.max() < limit, name


def test_results_do_not_depend_on_order_or_company(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama").double())
    tokens = prompts(6)
    points = paths(engine.site_activations(tokens))
    together = engine.respond(engine.prefix(tokens), points)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = engine.respond(engine.prefix(tokens[order]), points[order])
    steps = torch.tensor([0, 7, 3, 9, 1, 2, 8, 4, 6, 5])
    reordered = engine.respond(engine.prefix(tokens), points[:, steps])
    alone = engine.respond(engine.prefix(tokens[2:3]), points[2:3])
    for name, values in together.items():
        torch.testing.assert_close(shuffled[name], values[order], rtol=0, atol=1e-12)
        torch.testing.assert_close(reordered[name], values[:, steps], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone[name], values[2:3], rtol=0, atol=1e-12)


def test_a_prefix_can_be_used_again_and_again(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    prefix = engine.prefix(tokens)
    first = engine.respond(prefix, points)
    engine.respond(prefix, points * 3)
    again = engine.respond(prefix, points)
    for name, values in first.items():
        assert torch.equal(values, again[name])


def test_the_base_itself_gives_the_models_own_logits(make_tiny_model: Callable[..., Any]):
    for architecture in NAMED:
        model = make_tiny_model(architecture).double()
        engine = SuffixEngine(model, "blocks.2.hook_resid_pre")
        tokens = prompts()
        found = engine.logits(engine.prefix(tokens), engine.site_activations(tokens)[:, None])[:, 0]
        with torch.no_grad():
            wanted = model(tokens).logits[:, -1]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


def test_only_what_is_asked_for_and_zero_at_step_0(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("qwen3"))
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    everything = engine.respond(engine.prefix(tokens), points, ("l2", "kl", "js"))
    for names in (("l2",), ("kl",), ("js", "l2")):
        some = engine.respond(engine.prefix(tokens), points, names)
        assert list(some) == list(names)
        for name, values in some.items():
            assert values.dtype == torch.float64
            assert (values[:, 0] == 0).all()
            torch.testing.assert_close(values, everything[name], rtol=1e-5, atol=1e-6)


def test_points_that_are_not_numbers_stay_theirs(make_tiny_model: Callable[..., Any]):
    # A pair whose base and target coincide has no direction: its points are NaN, its neighbours' are not.
    engine = SuffixEngine(make_tiny_model("llama"))
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    good = engine.respond(engine.prefix(tokens), points, ("l2", "kl", "js"))
    points[1] = torch.nan
    found = engine.respond(engine.prefix(tokens), points, ("l2", "kl", "js"))
    for name, values in found.items():
        assert values[1].isnan().all(), name
        torch.testing.assert_close(values[[0, 2]], good[name][[0, 2]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", REFUSED)
def test_refuses_what_it_would_get_wrong_and_says_why(architecture: str, make_tiny_model: Callable[..., Any]):
    model = make_tiny_model(architecture)

    def drive() -> None:
        engine = SuffixEngine(model, "blocks.1.hook_resid_pre")
        tokens = prompts()
        engine.respond(engine.prefix(tokens), paths(engine.site_activations(tokens)))

    with pytest.raises(EngineError, match=REFUSED[architecture].message) as raised:
        drive()
    assert type(model).__name__ in str(raised.value)


@pytest.mark.parametrize(
    ("architecture", "n_ctx", "n_steps"),
    [
        ("llama4-chunks", 10, N_STEPS),
        ("gpt_neo-window", 6, 7),
        ("phimoe-window", 10, N_STEPS),
    ],
)
def test_drives_local_attention_as_far_as_it_reaches(
    architecture: str,
    n_ctx: int,
    n_steps: int,
    make_tiny_model: Callable[..., Any],
    oracle: Callable[..., dict[str, np.ndarray]],
):
    model = make_tiny_model(architecture)
    engine = SuffixEngine(model, "blocks.1.hook_resid_pre")
    tokens = prompts(n_ctx=n_ctx)
    points = paths(engine.site_activations(tokens), n_steps)
    found = engine.respond(engine.prefix(tokens), points)
    wanted = oracle(model, engine.blocks, tokens, points, site=1, read=4, centre=engine.centre)
    assert_same(found, wanted, {"l2": FLOAT32["l2"], "kl": FLOAT32["kl"]})
