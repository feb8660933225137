"""The mean-free residual stream: whose it is, and that it is TransformerLens' centred one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES
from plateau_lens.models.centring import centred, resolve_centre
from plateau_lens.models.quiet import quiet
from plateau_lens.models.suffix import SuffixEngine

TOKENS = torch.randint(5, 200, (4, 10), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    "architecture",
    ["gpt2", "gpt_neox", "opt", "cohere", "nemotron", "llama", "qwen3", "gemma3", "mistral", "olmo2"],
)
def test_auto_centres_layer_norm_models_alone(architecture: str, make_tiny_model: Callable[..., Any]):
    wanted = ARCHITECTURES[architecture].centred
    model = make_tiny_model(architecture)
    assert resolve_centre(model, "auto") is wanted
    assert resolve_centre(model, True) is True
    assert resolve_centre(model, False) is False


def test_centred_takes_the_mean_over_d_model():
    given = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    assert centred(given, True).tolist() == [[-2.0, -1.0, 3.0], [-1.0, -1.0, 2.0]]
    assert centred(given, False) is given


def test_centring_changes_distances_but_not_what_the_model_says(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2").double()
    plain, mean_free = (SuffixEngine(model, centre=centre) for centre in (False, True))
    base = plain.site_activations(TOKENS)
    assert base.mean(dim=-1).abs().min() > 1e-4
    torch.testing.assert_close(
        mean_free.site_activations(TOKENS), base - base.mean(dim=-1, keepdim=True), rtol=0, atol=1e-14
    )
    points = torch.stack([base, base.roll(1, 0)], dim=1)
    one, other = (engine.respond(engine.prefix(TOKENS), points) for engine in (plain, mean_free))
    torch.testing.assert_close(one["kl"], other["kl"], rtol=0, atol=1e-12)
    assert (one["l2"][:, 1] > other["l2"][:, 1]).all()


@pytest.fixture(scope="module")
def hooked_gpt2(make_tiny_model: Callable[..., Any]) -> tuple[Any, Any]:
    """A random GPT-2 and the same in TransformerLens with centred writing weights."""
    model = make_tiny_model("gpt2", seed=3)
    with quiet():
        from transformer_lens import HookedTransformer, HookedTransformerConfig
        from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

        config = HookedTransformerConfig(
            n_layers=4,
            d_model=32,
            n_ctx=160,
            d_head=8,
            n_heads=4,
            d_mlp=128,
            d_vocab=200,
            act_fn="gelu_new",
            normalization_type="LN",
            eps=model.config.layer_norm_epsilon,
            device="cpu",
        )
        hooked = HookedTransformer(config)
        hooked.load_and_process_state_dict(
            {name: value.clone() for name, value in convert_gpt2_weights(model, config).items()},
            fold_ln=False,
            center_writing_weights=True,
            center_unembed=False,
            fold_value_biases=False,
        )
    return model, hooked.eval()


@pytest.mark.parametrize("site", ["blocks.1.hook_resid_pre", "blocks.2.hook_resid_post"])
def test_activations_equal_transformer_lens(site: str, hooked_gpt2: tuple[Any, Any]):
    model, hooked = hooked_gpt2
    with torch.no_grad():
        _, cache = hooked.run_with_cache(TOKENS)
    found = SuffixEngine(model, site).site_activations(TOKENS)
    torch.testing.assert_close(found, cache[site][:, -1], rtol=0, atol=1e-5)


def test_curves_equal_transformer_lens(hooked_gpt2: tuple[Any, Any]):
    model, hooked = hooked_gpt2
    engine = SuffixEngine(model, "blocks.1.hook_resid_pre", "blocks.3.hook_resid_post")
    base = engine.site_activations(TOKENS)
    direction = torch.nn.functional.normalize(base.roll(1, 0) - base, dim=-1)
    points = base[:, None] + 0.3 * torch.arange(12.0)[None, :, None] * direction[:, None]
    found = engine.respond(engine.prefix(TOKENS), points)
    for pair, (tokens, pushed) in enumerate(zip(TOKENS, points, strict=True)):
        seen: dict[str, torch.Tensor] = {}

        def push(stream: torch.Tensor, hook: Any, pushed: torch.Tensor = pushed) -> torch.Tensor:
            stream[:, -1] = pushed
            return stream

        def keep(stream: torch.Tensor, hook: Any, seen: dict[str, torch.Tensor] = seen) -> None:
            seen["read"] = stream[:, -1].double()

        with torch.no_grad():
            logits = hooked.run_with_hooks(
                tokens.expand(12, -1),
                fwd_hooks=[("blocks.1.hook_resid_pre", push), ("blocks.3.hook_resid_post", keep)],
            )
        l2 = (seen["read"] - seen["read"][0]).norm(dim=-1)
        log_p = logits[:, -1].double().log_softmax(dim=-1)
        kl = (log_p[0].exp() * (log_p[0] - log_p)).sum(dim=-1)
        assert ((found["l2"][pair] - l2).abs() / l2.max()).max() < 1e-5
        assert ((found["kl"][pair] - kl).abs() / kl.max()).max() < 2e-5


def test_only_a_model_that_ignores_the_mean_is_centred(make_tiny_model: Any):
    """A post-norm OPT has LayerNorms only, and yet its residual stream carries the mean on."""
    from plateau_lens import EngineError

    post_norm = make_tiny_model("opt", do_layer_norm_before=False)
    assert SuffixEngine(post_norm).centre is False
    assert SuffixEngine(make_tiny_model("opt")).centre is True
    for model in (post_norm, make_tiny_model("llama")):
        with pytest.raises(EngineError, match="mean-free residual stream"):
            SuffixEngine(model, centre=True)
