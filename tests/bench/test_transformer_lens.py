"""The peer that is timed computes the same curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plateau_lens import EngineError, SuffixEngine
from plateau_lens.bench import transformer_lens
from plateau_lens.bench.paths import Ours, random_paths
from plateau_lens.bench.record import largest_difference
from plateau_lens.bench.transformer_lens import TransformerLens


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("batched", [True, False])
def test_curves_are_ours(
    architecture: str, batched: bool, make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    if batched:
        monkeypatch.setattr(transformer_lens, "MOST_LOGITS", 7 * 10 * 200)  # 7 prompts at a time
    engine = SuffixEngine(make_tiny_model(architecture))
    paths = random_paths(engine, n_ctx=10, pairs=2, kinds=1, n_steps=20)
    theirs = TransformerLens(engine).responses(paths.tokens[0], paths.points[0, 0])
    ours = Ours(engine, paths).first()
    assert theirs["kl"].shape == (21,)
    assert theirs["kl"][-1] > 0.01
    assert largest_difference(ours, theirs) < 1e-4


def test_the_models_weights_are_left_alone(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    TransformerLens(SuffixEngine(model))
    assert all(before[name].equal(weight) for name, weight in model.state_dict().items())


def test_a_model_it_does_not_know_is_named(make_tiny_model: Callable[..., Any]):
    with pytest.raises(EngineError, match="TransformerLens does not take Starcoder2ForCausalLM"):
        TransformerLens(SuffixEngine(make_tiny_model("starcoder2")))
