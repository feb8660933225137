"""What the engine proves of a model before it is trusted, and by which yardstick."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from architectures import ALIBI, REFUSED, STATE, TOO_LONG, VOCAB
from plateau_lens import ConfigError, EngineError, ResourceError, SuffixEngine
from plateau_lens.models.parallel import ParallelSteps

CPU = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"


def prompts(n_pairs: int = 3, n_ctx: int = 12) -> torch.Tensor:
    return torch.randint(5, VOCAB, (n_pairs, n_ctx), generator=torch.Generator().manual_seed(1))


def paths(base: torch.Tensor, n_points: int = 10) -> torch.Tensor:
    fraction = torch.linspace(0, 1.2, n_points, dtype=base.dtype)
    return base[:, None] + fraction[:, None] * (base.roll(1, dims=0) - base)[:, None]


# -- one entry for all that is pushed ---------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["phimoe-window", "llama4-chunks"])
def test_logits_are_proved_like_responses(architecture: str, make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model(architecture))
    tokens = prompts()
    prefix, points = engine.prefix(tokens), paths(engine.site_activations(tokens))
    with pytest.raises(EngineError, match=TOO_LONG):
        engine.logits(prefix, points)


def test_logits_have_the_shapes_of_responses(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    with pytest.raises(ConfigError, match=r"points are \(3, 10, 32\) but the prefix has 1 pairs"):
        engine.logits(engine.prefix(tokens[:1]), points)


# -- the yardstick ----------------------------------------------------------------------------------------


def with_an_outlier(model: Any) -> Any:
    """One coordinate of the stream is 1,000 on every token, as in real models, and no norm lets it through."""
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 5] = 1000
        for name, module in model.named_modules():
            if "norm" in name:
                module.weight.mul_(170.0 if name == "model.norm" else 10.0)
                module.weight[5] = 0.0
            if name.endswith("o_proj"):
                module.weight.mul_(30.0)
    return model


def test_a_large_coordinate_hides_nothing(make_tiny_model: Callable[..., Any]):
    # Ten tokens of window, twelve of prompt, and the attention function is not told: L2 would be off by 1.2 % and KL by
    # 6.7 %. The state's largest coordinate is 1,000, and a thousandth of that is half of the largest L2.
    engine = SuffixEngine(with_an_outlier(make_tiny_model("phimoe-window")))
    tokens = prompts()
    prefix, points = engine.prefix(tokens), paths(engine.site_activations(tokens))
    with pytest.raises(EngineError, match=TOO_LONG):
        engine.respond(prefix, points)


def test_a_large_coordinate_is_no_reason_to_refuse(
    make_tiny_model: Callable[..., Any], oracle: Callable[..., dict[str, Any]]
):
    engine = SuffixEngine(with_an_outlier(make_tiny_model("phimoe-window", sliding_window=160)))
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    found = engine.respond(engine.prefix(tokens), points)
    wanted = oracle(engine.model, engine.blocks, tokens, points, site=1, read=4, centre=engine.centre)
    for name, values in found.items():
        assert abs(values.numpy() - wanted[name]).max() < 5e-3 * wanted[name].max()


@pytest.mark.parametrize(
    ("architecture", "why"), [("recurrent_gemma", STATE), ("mpt", ALIBI), ("lfm2", STATE), ("bloom", ALIBI)]
)
def test_rounding_hides_nothing(architecture: str, why: str, make_tiny_model: Callable[..., Any]):
    # In bfloat16 a response is good to some hundredths, which is what a running state or a place in the row do to it.
    with pytest.raises(EngineError, match=why):
        SuffixEngine(make_tiny_model(architecture).bfloat16())


@pytest.mark.parametrize("architecture", ["phimoe-window", "llama4-chunks", "gpt_neo-window"])
def test_rounding_hides_no_window(architecture: str, make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model(architecture).bfloat16())
    tokens = prompts()
    prefix, points = engine.prefix(tokens), paths(engine.site_activations(tokens))
    with pytest.raises(EngineError, match=REFUSED[architecture].message):
        engine.respond(prefix, points)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "architecture", ["gpt2", "llama", "gemma2", "gptj", "mixtral", "gpt_oss", "deepseek_v3", "olmoe"]
)
def test_what_is_right_is_driven_in_few_bits_too(
    architecture: str, dtype: torch.dtype, make_tiny_model: Callable[..., Any]
):
    model = make_tiny_model(architecture).to(dtype)
    weights = {name: (tensor, tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    engine = SuffixEngine(model)
    tokens = prompts()
    points = paths(engine.site_activations(tokens))
    narrow = engine.respond(engine.prefix(tokens), points)
    assert [proof.tried_in for proof in engine.proofs] == ["float32"] * len(engine.proofs)
    assert {name for proof in engine.proofs for name in proof.errors} == {"L2", "KL"}
    assert all(error.value <= 1e-3 for proof in engine.proofs for error in proof.errors.values())
    now = model.state_dict(keep_vars=True)
    assert all(
        now[name] is tensor and torch.equal(tensor, before) for name, (tensor, before) in weights.items()
    )
    wide = SuffixEngine(make_tiny_model(architecture).to(dtype).float())
    exact = wide.respond(wide.prefix(tokens), points)
    for name, values in narrow.items():
        # Single steps may differ by more: rounding sends some tokens to other experts.
        assert (values - exact[name]).abs().mean() < 0.2 * exact[name].mean()


def test_half_precision_attention_is_tried_in_float32(make_tiny_model: Callable[..., Any]):
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def flash_like(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        halves = (each.bfloat16() for each in (query, key, value))
        out, weights = sdpa_attention_forward(module, *halves, mask, **kwargs)
        return out.to(query.dtype), weights

    AttentionInterface.register("flash_like", flash_like)
    model = make_tiny_model("llama").bfloat16()
    model.config._attn_implementation = "flash_like"
    engine = SuffixEngine(model)
    assert max(engine.proofs[0].errors.values()).value < 1e-4
    assert model.config._attn_implementation == "flash_like"


# -- how many rows ----------------------------------------------------------------------------------------


class Capacity(nn.Module):
    """An expert that takes in 40 tokens of a batch and lets the others pass."""

    def __init__(self, mlp: nn.Module):
        super().__init__()
        self.mlp = mlp.eval()
        self.eval()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        out = self.mlp(hidden).flatten(0, -2)
        out[40:] = 0
        return out.view_as(hidden)


def test_blocks_that_depend_on_the_batch_are_refused(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    model.model.layers[2].mlp = Capacity(model.model.layers[2].mlp)
    engine = SuffixEngine(model, max_rows=1000)
    tokens = prompts(6, n_ctx=8)
    points = paths(engine.site_activations(tokens))
    # One pair of ten points fits in, six do not.
    engine.respond(engine.prefix(tokens[:1]), points[:1])
    with pytest.raises(EngineError, match=r"with 6 prompts at once.*capacity.*smaller max_rows"):
        engine.respond(engine.prefix(tokens), points)
    careful = SuffixEngine(model, max_rows=30)
    assert len(careful.respond(careful.prefix(tokens), points)["l2"]) == 6


def test_more_rows_or_more_tokens_than_were_proved_are_proved_again(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    model.model.layers[2].mlp = Capacity(model.model.layers[2].mlp)
    engine = SuffixEngine(model, max_rows=1000)
    tokens = prompts(5, n_ctx=8)
    points = paths(engine.site_activations(tokens))
    # Three pairs of ten points fit into 40 tokens, five do not, though that is less than twice as many.
    engine.respond(engine.prefix(tokens[:3]), points[:3])
    with pytest.raises(EngineError, match="with 5 prompts at once"):
        engine.respond(engine.prefix(tokens), points)
    # Three pairs of four points are few rows, but their prefixes of 19 tokens are 57.
    longer = prompts(3, n_ctx=20)
    few = paths(engine.site_activations(longer))[:, :4]
    with pytest.raises(EngineError, match="with 3 prompts at once"):
        engine.respond(engine.prefix(longer), few)


def test_the_same_lengths_and_rows_are_proved_once(
    make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    engine = SuffixEngine(make_tiny_model("llama"))
    tokens = prompts(6)
    points, prefix = paths(engine.site_activations(tokens)), engine.prefix(tokens)
    engine.respond(prefix, points)
    proved = engine.proofs
    assert [(proof.n_ctx, proof.n_points, proof.n_pairs) for proof in proved] == [(8, 3, 2), (12, 10, 6)]
    passes: list[int] = []
    right = ParallelSteps.whole
    monkeypatch.setattr(
        ParallelSteps, "whole", lambda self, *a, **k: (passes.append(1), right(self, *a, **k))[1]
    )
    engine.respond(prefix, points)
    engine.respond(prefix, points[:, :4])
    engine.logits(prefix, points[:, :1])
    engine.respond(prefix.rows(slice(0, 2)), points[:2])
    assert engine.proofs == proved
    assert not passes


# -- what is too large, or nothing ------------------------------------------------------------------------


def test_out_of_memory_in_the_proof_is_called_that(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")

    def full(*_: Any) -> None:
        raise RuntimeError(CPU)

    handle = model.model.layers[2].register_forward_hook(full)
    with pytest.raises(ResourceError, match="not memory enough"):
        SuffixEngine(model)
    handle.remove()
    engine = SuffixEngine(model)
    tokens = prompts()
    prefix, points = engine.prefix(tokens), paths(engine.site_activations(tokens))
    right, calls = engine._steps._pass, []

    def late(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        raise RuntimeError(CPU)

    engine._steps._pass = late
    with pytest.raises(ResourceError, match="not memory enough"):
        engine.respond(prefix, points)
    engine._steps._pass = right
    engine.respond(prefix, points)


def test_steps_of_one_pair_are_split_to_fit(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama").double()
    engine = SuffixEngine(model, max_rows=8)
    tokens = prompts(2)
    points = paths(engine.site_activations(tokens), 50)
    rows: list[int] = []
    whole = SuffixEngine(model, max_rows=1000)
    wanted = whole.respond(whole.prefix(tokens), points, ("l2", "kl", "js"))
    prefix = engine.prefix(tokens)
    engine._steps.rows_a_pass(12)
    right = engine._steps._pass

    def counting(prefix: Any, points: torch.Tensor, **keywords: Any) -> Any:
        rows.append(points.shape[0] * points.shape[1])
        return right(prefix, points, **keywords)

    engine._steps._pass = counting
    found = engine.respond(prefix, points, ("l2", "kl", "js"))
    assert max(rows) <= 8
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-9)
    logits = engine.logits(prefix, points)
    torch.testing.assert_close(logits, whole.logits(whole.prefix(tokens), points), rtol=0, atol=1e-9)


def test_out_of_memory_on_one_pair_splits_its_steps(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama").double())
    tokens = prompts(1)
    base = engine.site_activations(tokens)
    points = base[:, None] * torch.linspace(1, 2, 20, dtype=base.dtype)[:, None]
    wanted = engine.respond(engine.prefix(tokens), points)
    right = engine._steps._pass

    def limited(prefix: Any, points: torch.Tensor, **keywords: Any) -> Any:
        if points.shape[1] > 6:
            raise RuntimeError(CPU)
        return right(prefix, points, **keywords)

    engine._steps._pass = limited
    found = engine.respond(engine.prefix(tokens), points)
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(3, 32), r"points are \(3, 32\).*pass \(3, steps, 32\)"),
        (torch.zeros(3, 0, 32), "points have no steps"),
        (torch.zeros(0, 4, 32), r"points are \(0, 4, 32\) but the prefix has 3 pairs"),
    ],
)
def test_points_that_are_no_paths_are_named(
    points: torch.Tensor, message: str, make_tiny_model: Callable[..., Any]
):
    engine = SuffixEngine(make_tiny_model("llama"))
    for push in (engine.respond, engine.logits):
        with pytest.raises(ConfigError, match=message):
            push(engine.prefix(prompts()), points)


def test_no_prompts_are_named(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    for tokens in (torch.zeros(0, 8, dtype=torch.long), torch.arange(8)):
        for run in (engine.prefix, engine.site_activations):
            with pytest.raises(ConfigError, match=r"pass \(prompts, positions\), one prompt at least"):
                run(tokens)


def test_a_response_that_is_none_is_named(make_tiny_model: Callable[..., Any]):
    engine = SuffixEngine(make_tiny_model("llama"))
    tokens = prompts()
    prefix, points = engine.prefix(tokens), paths(engine.site_activations(tokens))
    with pytest.raises(ConfigError, match=r"'kl' is one name; pass a list of names, \['kl'\]"):
        engine.respond(prefix, points, "kl")
    with pytest.raises(ConfigError, match="response 'mine' is a str, not a Response"):
        engine.respond(prefix, points, {"mine": "kl"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="unknown response 'kk'"):
        engine.respond(prefix, points, ("kk",))


def test_a_quantised_model_is_named(make_tiny_model: Callable[..., Any]):
    message = "LlamaForCausalLM is quantised.*load it without quantisation"
    # What torch makes of it has no matrices left; others keep them as whole numbers, or in eight bits.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop it
        dynamic = torch.ao.quantization.quantize_dynamic(
            make_tiny_model("llama"), {nn.Linear}, dtype=torch.qint8
        )
    packed = make_tiny_model("llama")
    weight = packed.model.layers[1].mlp.up_proj.weight
    packed.model.layers[1].mlp.up_proj.weight = nn.Parameter(weight.to(torch.int8), requires_grad=False)
    eight = make_tiny_model("llama")
    eight.model.layers[1].mlp.up_proj.weight = nn.Parameter(
        weight.to(torch.float8_e4m3fn), requires_grad=False
    )
    for model in (dynamic, packed, eight):
        with pytest.raises(EngineError, match=message):
            SuffixEngine(model)
