"""The least arithmetic of a curve is what torch itself counts in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from plateau_lens import EngineError, SuffixEngine
from plateau_lens.bench.flops import suffix_flops
from plateau_lens.bench.paths import random_paths
from plateau_lens.bench.probes import best_rate, probes
from plateau_lens.bench.random_gpt2 import random_gpt2
from plateau_lens.models import onednn

WIDE = {
    "gpt2": {"n_embd": 128},
    "llama": {"hidden_size": 128, "intermediate_size": 192},
    "gpt_neox": {"hidden_size": 128, "intermediate_size": 192},
}


@pytest.fixture(scope="module", params=WIDE)
def engine(request: pytest.FixtureRequest, make_tiny_model: Callable[..., Any]) -> SuffixEngine:
    return SuffixEngine(make_tiny_model(request.param, **WIDE[request.param]), "blocks.1.hook_resid_pre")


@pytest.fixture(autouse=True)
def by_torchs_own_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its counter does not know oneDNN's."""
    monkeypatch.setattr(onednn, "available", lambda: False)


@pytest.mark.parametrize("n_ctx", [10, 128])
def test_torch_counts_the_same_operations(engine: SuffixEngine, n_ctx: int):
    paths = random_paths(engine, n_ctx=n_ctx, pairs=3, kinds=1, n_steps=40)
    prefix = engine.prefix(paths.tokens)
    engine.respond(prefix, paths.points[0])  # the first time, the engine proves itself on this length as well
    with FlopCounterMode(display=False) as counter:
        engine.respond(prefix, paths.points[0])
    found = suffix_flops(engine, n_ctx=n_ctx, n_points=41)
    assert 3 * found.total == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_torch_counts_no_unembedding_in_l2_alone(engine: SuffixEngine):
    paths = random_paths(engine, n_ctx=10, pairs=3, kinds=1, n_steps=40)
    prefix = engine.prefix(paths.tokens)
    engine.respond(prefix, paths.points[0])  # the first time, the engine proves itself on this length as well
    with FlopCounterMode(display=False) as counter:
        engine.respond(prefix, paths.points[0], ("l2",))
    found = suffix_flops(engine, n_ctx=10, n_points=41)
    assert 3 * (found.matrices + found.attention) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_gpt2_by_hand():
    """Of 4 blocks 3 are behind the site, each of 12 d^2 weights; 10 keys, 500 tokens."""
    found = suffix_flops(SuffixEngine(random_gpt2(tiny=True)), n_ctx=10, n_points=101)
    assert found.matrices == 101 * 2 * 3 * 12 * 64**2
    assert found.attention == 101 * 4 * 3 * 64 * 10
    assert found.unembedding == 101 * 2 * 64 * 500


def test_experts_have_no_known_limit(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("mixtral"))
    with pytest.raises(EngineError, match="experts"):
        suffix_flops(engine, n_ctx=10, n_points=101)


def test_probes_do_the_operations_they_claim(engine: SuffixEngine):
    made = probes(engine, rows=30, square=64, least_flops=1e7)
    assert "product/64 x 64 x 64" in made
    assert "product/30 x 128 x 200" in made  # the unembedding
    for probe in made.values():
        with FlopCounterMode(display=False) as counter:
            probe()
        assert probe.flops == counter.get_total_flops() >= 1e7
        torch.testing.assert_close(probe.result, probe.given @ probe.weight)


def test_the_best_rate_is_the_fastest_products(engine: SuffixEngine):
    made = probes(engine, rows=30, square=64, least_flops=1e7)
    seconds = {name: [2.0, 1.0, 9.0] for name in made}
    seconds["product/64 x 64 x 64"] = [0.5, 0.1, 0.5]
    name, rate = best_rate(seconds, made)
    assert name == "product/64 x 64 x 64"
    assert rate == made[name].flops / 0.5
