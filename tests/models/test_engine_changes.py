"""A proof holds for the model that it was made on: what changes is noticed, and what cannot be driven refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from plateau_lens import ConfigError, EngineError, SuffixEngine
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.snapshot import Snapshot

TOKENS = torch.randint(5, 200, (3, 8), generator=torch.Generator().manual_seed(2))


def points_of(engine: SuffixEngine) -> torch.Tensor:
    base = engine.site_activations(TOKENS)
    return base[:, None] + torch.linspace(0, 1.2, 7)[:, None] * (base.roll(1, 0) - base)[:, None]


def proven(
    make_tiny_model: Callable[..., Any], architecture: str = "llama", **arguments: Any
) -> SuffixEngine:
    """An engine that has responded once."""
    engine = SuffixEngine(make_tiny_model(architecture), **arguments)
    engine.respond(engine.prefix(TOKENS), points_of(engine), ("l2", "kl", "js"))
    return engine


def assert_right(engine: SuffixEngine, limit: float = 1e-4) -> None:
    """What the engine gives now is what the full pass gives now."""
    points = points_of(engine)
    names = ("l2", "kl", "js")
    found = engine.respond(engine.prefix(TOKENS), points, names)
    for name, wanted in full_responses(engine, TOKENS, points, names).items():
        assert wanted.max() > 0.01
        assert (found[name] - wanted).abs().max() <= limit * wanted.max(), name


@pytest.mark.parametrize("part", ["model.layers.2.mlp", ""])
def test_training_mode_is_refused(part: str, make_tiny_model: Callable[..., Any]):
    engine = proven(make_tiny_model)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    engine.model.get_submodule(part).train()
    for run in (
        lambda: SuffixEngine(engine.model),
        lambda: engine.respond(prefix, points),
        lambda: engine.logits(prefix, points),
        lambda: engine.prefix(TOKENS),
        lambda: engine.site_activations(TOKENS),
    ):
        with pytest.raises(EngineError, match=r"in training mode.*call model\.eval\(\)"):
            run()
    engine.model.eval()
    assert_right(engine)


def test_a_hook_on_one_position_is_refused_and_its_end_noticed(make_tiny_model: Callable[..., Any]):
    engine = proven(make_tiny_model)

    def steer(_: Any, __: Any, out: Any) -> Any:
        out = out.clone()
        out[:, -1] += 1.0
        return out

    handle = engine.blocks[2].register_forward_hook(steer)
    with pytest.raises(
        EngineError, match=r"with the hooks on model\.layers\.2.*all positions of all rows alike"
    ):
        engine.prefix(TOKENS)
    handle.remove()
    assert_right(engine)


def test_a_hook_on_all_positions_is_obeyed(make_tiny_model: Callable[..., Any]):
    engine = proven(make_tiny_model)
    before = engine.respond(engine.prefix(TOKENS), points_of(engine))["l2"]
    handle = engine.blocks[2].register_forward_hook(lambda _, __, out: 1.5 * out)
    assert_right(engine)
    after = engine.respond(engine.prefix(TOKENS), points_of(engine))["l2"]
    assert (after - before).abs().max() > 0.01
    handle.remove()


@pytest.mark.parametrize("matmul", ["full", "bfloat16"])
def test_a_hook_on_the_unembedding_counts_in_any_company(matmul: Any, make_tiny_model: Callable[..., Any]):
    engine = proven(make_tiny_model, matmul=matmul)
    handle = engine.model.lm_head.register_forward_hook(lambda _, __, out: 2 * out)
    points, prefix = points_of(engine), engine.prefix(TOKENS)
    alone, together = engine.respond(prefix, points, ("kl",)), engine.respond(prefix, points, ("kl", "js"))
    assert torch.equal(alone["kl"], together["kl"])
    assert_right(engine, 1e-4 if matmul == "full" else 0.1)
    handle.remove()


@pytest.mark.parametrize("matmul", ["full", "bfloat16"])
@pytest.mark.parametrize("how", ["in place", "replaced", "loaded", "moved"])
def test_changed_weights_are_seen(how: str, matmul: Any, make_tiny_model: Callable[..., Any]):
    engine = proven(make_tiny_model, matmul=matmul)
    layer = engine.blocks[2].mlp.up_proj
    points, stale = points_of(engine), engine.prefix(TOKENS)
    before = engine.respond(stale, points)
    with torch.no_grad():
        if how == "in place":
            layer.weight.mul_(3)
        elif how == "replaced":
            layer.weight = nn.Parameter(3 * layer.weight, requires_grad=False)
        elif how == "loaded":
            layer.load_state_dict({"weight": 3 * layer.weight})
        else:
            layer.weight.data = 3 * layer.weight
    with pytest.raises(
        ConfigError, match=r"weights of model\.layers\.2\.mlp\.up_proj changed.*make it again"
    ):
        engine.respond(stale, points)
    after = engine.respond(engine.prefix(TOKENS), points)
    assert (after["l2"] - before["l2"]).abs().max() > 0.01
    assert_right(engine, 1e-4 if matmul == "full" else 0.1)


def test_a_prefix_of_another_model_is_refused(make_tiny_model: Callable[..., Any]):
    one, other = proven(make_tiny_model), proven(make_tiny_model)
    with pytest.raises(ConfigError, match="the model is another one"):
        one.respond(other.prefix(TOKENS), points_of(one))
    late = SuffixEngine(one.model, "blocks.2.hook_resid_pre")
    with pytest.raises(ConfigError, match=r"made for a site behind blocks\.1"):
        one.respond(late.prefix(TOKENS), points_of(one))


def test_what_only_records_is_no_change(make_tiny_model: Callable[..., Any]):
    # transformers leaves hooks on a model that was once asked for its states.
    engine = proven(make_tiny_model)
    points, prefix, proofs = points_of(engine), engine.prefix(TOKENS), engine.proofs
    with torch.no_grad():
        engine.model(TOKENS, output_hidden_states=True)
    assert any(module._forward_hooks for module in engine.model.modules())
    engine.respond(prefix, points)
    assert engine.proofs == proofs


def test_what_a_snapshot_sees_is_told(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    layer = model.model.layers[1].mlp
    now = Snapshot(model)
    assert now.change() == ""
    handle = layer.register_forward_pre_hook(lambda *_: None)
    assert now.change() == "hooks of model.layers.1.mlp changed"
    handle.remove()
    assert now.change() == ""
    layer.forward = layer.forward
    assert now.change() == "forward of model.layers.1.mlp changed"
    del layer.forward
    layer.train()
    assert now.change() == "training mode of model.layers.1.mlp changed"
    layer.eval()
    layer.extra = nn.Identity()
    assert now.change() == "parts of model.layers.1.mlp changed"
    del layer.extra
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert now.change() == "hooks on all modules were added or removed"
    handle.remove()
    assert now.change() == ""


# -- the model is left as it was --------------------------------------------------------------------------


def test_every_parts_attention_is_put_back(make_tiny_model: Callable[..., Any]):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    from architectures import ARCHITECTURES, VOCAB

    text = {**ARCHITECTURES["gemma3"].config, "pad_token_id": 0, "vocab_size": VOCAB}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(text_config=text, vision_config={**vision, "image_size": 28, "patch_size": 14})
    config._attn_implementation = {"text_config": "eager", "vision_config": "sdpa", "": "sdpa"}
    model = Gemma3ForConditionalGeneration(config).eval().requires_grad_(False)

    def settings() -> list[str | None]:
        return [each._attn_implementation for each in (config, config.text_config, config.vision_config)]

    before = settings()
    assert before == ["sdpa", "eager", "sdpa"]
    engine = SuffixEngine(model)
    assert not engine.own_attention
    engine.respond(engine.prefix(TOKENS), points_of(engine))
    assert settings() == before


def test_threads_leave_nothing_behind_and_get_the_same(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("gpt2")
    engines = [SuffixEngine(model), SuffixEngine(model, "blocks.2.hook_resid_pre")]
    points, prefixes = [points_of(each) for each in engines], [each.prefix(TOKENS) for each in engines]
    wanted = [engines[i].respond(prefixes[i], points[i]) for i in range(2)]
    attention, errors = model.config._attn_implementation, []
    start = threading.Barrier(4)

    def work(which: int) -> None:
        try:
            start.wait()
            for _ in range(6):
                found = engines[which].respond(prefixes[which], points[which])
                for name, values in wanted[which].items():
                    assert torch.equal(found[name], values)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number % 2,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert not [name for name, module in model.named_modules() if "forward" in module.__dict__]
    assert model.config._attn_implementation == attention


@pytest.mark.parametrize(
    ("architecture", "key", "value"),
    [("gemma2", "final_logit_softcapping", 0.5), ("llama", "rms_norm_eps", 0.9)],
)
def test_a_changed_configuration_is_noticed(
    architecture: str, key: str, value: float, make_tiny_model: Callable[..., Any]
):
    engine = proven(make_tiny_model, architecture)
    proved = len(engine.proofs)
    prefix, points = engine.prefix(TOKENS), points_of(engine)
    setattr(engine.model.config, key, value)
    with pytest.raises(ConfigError, match="the configuration changed"):
        engine.respond(prefix, points)
    assert_right(engine)
    assert len(engine.proofs) >= proved


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_compiled_model_is_driven(architecture: str, make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(torch.compile(make_tiny_model(architecture), backend="eager"))
    assert_right(engine)
