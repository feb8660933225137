"""Predict, then intervene: models whose response is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plateau_lens.models.suffix import SuffixEngine
from plateau_lens.numerics.schedules import last_usable_step, offsets
from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.chord_area import ChordArea
from plateau_lens.steps.max_slope import MaxSlope
from plateau_lens.steps.non_linearity import NonLinearity
from plateau_lens.steps.registry import Curves

TOKENS = torch.randint(5, 200, (4, 8), generator=torch.Generator().manual_seed(3))
N_STEPS, STEP_SIZE, JUMP = 100, 0.05, 50.0


class Cliff(nn.Module):
    """A block, and then: where coordinate 0 of the stream exceeds a threshold, coordinate 1 jumps."""

    def __init__(self, block: nn.Module, threshold: float):
        super().__init__()
        self.block = block
        self.threshold = threshold

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        out = self.block(hidden_states, *args, **kwargs)
        jump = torch.zeros_like(out)
        jump[..., 1] = JUMP * (out[..., 0] > self.threshold)
        return out + jump


@pytest.fixture
def linear_model(make_tiny_model: Callable[..., Any]) -> Any:
    """A Llama whose blocks add nothing to the stream: the read site shows the pushed point itself."""
    model = make_tiny_model("llama").double()
    with torch.no_grad():
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
    return model


def paths(engine: SuffixEngine, *, threshold: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Bases, and unit directions along which coordinate 0 rises by 0.6 and coordinate 1 by 0.8 or not at all."""
    base = engine.site_activations(TOKENS)
    if threshold is not None:
        assert (base[:, 0] < threshold).all()
    direction = torch.zeros_like(base)
    direction[:, 0] = torch.tensor([0.6, 0.6, 1.0, 0.6], dtype=torch.float64)
    direction[:, 1] = torch.tensor([0.8, 0.0, 0.0, -0.8], dtype=torch.float64)
    direction[1, 2] = 0.8
    return base, direction


def test_a_linear_model_responds_with_the_push_itself(linear_model: Any):
    engine = SuffixEngine(linear_model, "blocks.1.hook_resid_pre")
    base, direction = paths(engine)
    along = torch.arange(N_STEPS + 1, dtype=torch.float64) * STEP_SIZE
    l2 = engine.respond(engine.prefix(TOKENS), base[:, None] + along[:, None] * direction[:, None])["l2"]
    torch.testing.assert_close(l2, along.expand(4, -1), rtol=0, atol=1e-12)
    last = np.full(4, N_STEPS)
    assert ChordArea().of(Curves(l2.numpy(), last)).value.tolist() == [1.0] * 4, "a straight line"
    assert NonLinearity().of(Curves(l2.numpy(), last)).censored.all()
    assert MaxSlope(min_slope={"l2": 1.001 * STEP_SIZE}).of(Curves(l2.numpy(), last)).censored.all()
    assert ActivationPlateau(threshold=2.02).of(Curves(l2.numpy(), last)).value.tolist() == [41.0] * 4


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["absolute", "relative"])
def test_a_cliff_is_found_at_exactly_the_step_where_it_stands(linear_model: Any, block: int, schedule: str):
    threshold = 1.5
    linear_model.model.layers[block] = Cliff(linear_model.model.layers[block], threshold).eval()
    engine = SuffixEngine(linear_model, "blocks.1.hook_resid_pre")
    base, direction = paths(engine, threshold=threshold)
    distance = np.array([4.0, 4.7, 3.1, 5.0])
    along = torch.from_numpy(offsets(schedule, distance, n_steps=N_STEPS, step_size=STEP_SIZE))
    points = base[:, None] + along[..., None] * direction[:, None]
    found = engine.respond(engine.prefix(TOKENS), points, ("l2", "kl", "js"))
    # The cliff is passed at the first n with A_0 + along[n] * D_0 > threshold. Behind it the read-out is the
    # push plus the jump, and |along * D + JUMP * e_1|^2 = along^2 + 2 * along * D_1 * JUMP + JUMP^2.
    passed = (base[:, :1] + along * direction[:, :1]) > threshold
    wanted_step = passed.double().argmax(dim=1)
    assert 5 < wanted_step.min() < wanted_step.max() < 95
    square = along**2 + passed * (2 * along * direction[:, 1:2] * JUMP + JUMP**2)
    torch.testing.assert_close(found["l2"], square.sqrt(), rtol=0, atol=1e-10)
    last = last_usable_step(schedule, distance, n_steps=N_STEPS, step_size=STEP_SIZE, stop_at_target=True)
    l2 = found["l2"].numpy()
    ms = MaxSlope(min_slope={"l2": 0.1}).of(Curves(l2, last))
    ap = ActivationPlateau(threshold=JUMP / 2).of(Curves(l2, last))
    for values in (ms, ap):
        assert values.value.tolist() == wanted_step.tolist()
        assert not values.censored.any()
    nl = NonLinearity().of(Curves(l2, last))
    assert nl.value.tolist() == [max(2, n) for n in wanted_step.tolist()]
    assert ChordArea().of(Curves(l2, last)).value.tolist() == wanted_step.tolist()
    for name in ("kl", "js"):
        biggest = MaxSlope(min_slope={"l2": 1e-3}).of(Curves(found[name].numpy(), last))
        assert biggest.value.tolist() == wanted_step.tolist(), name


def test_a_cliff_behind_the_target_is_not_seen(linear_model: Any):
    linear_model.model.layers[2] = Cliff(linear_model.model.layers[2], 1.5).eval()
    engine = SuffixEngine(linear_model, "blocks.1.hook_resid_pre")
    base, direction = paths(engine, threshold=1.5)
    distance = ((1.5 - base[:, 0]) / direction[:, 0]).numpy() * 0.9
    along = torch.from_numpy(offsets("absolute", distance, n_steps=N_STEPS, step_size=STEP_SIZE))
    points = base[:, None] + along[..., None] * direction[:, None]
    l2 = engine.respond(engine.prefix(TOKENS), points)["l2"].numpy()
    last = last_usable_step("absolute", distance, n_steps=N_STEPS, step_size=STEP_SIZE, stop_at_target=True)
    found = ActivationPlateau(threshold=JUMP / 2).of(Curves(l2, last))
    assert found.censored.all()
    assert found.value.tolist() == [math.floor(d / STEP_SIZE) for d in distance]


def test_the_prefix_is_attended_to(make_tiny_model: Callable[..., Any]):
    # A change far back in the prompt must change the response to the same points.
    engine = SuffixEngine(make_tiny_model("llama").double())
    base = engine.site_activations(TOKENS)
    points = torch.stack([base, base.roll(1, 0)], dim=1)
    other = TOKENS.clone()
    other[:, 0] = (other[:, 0] + 50) % 190 + 5
    one, changed = (engine.respond(engine.prefix(tokens), points)["l2"] for tokens in (TOKENS, other))
    assert (one[:, 1] - changed[:, 1]).abs().min() > 1e-3
