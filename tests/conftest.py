"""Fixtures that every folder of tests uses: tiny random models, a tokenizer, SAEs and a slow, plain oracle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from scipy.spatial.distance import jensenshannon

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Two processes run the tests (`pytest -n 2`), on machines of two cores; their children inherit this.
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
os.environ["OMP_NUM_THREADS"] = str(THREADS)
torch.set_num_threads(THREADS)

# Executes the shape annotations of the modules whose annotated names all exist at run time.
install_import_hook(
    [
        "plateau_lens.numerics.schedules",
        "plateau_lens.numerics.steps",
        "plateau_lens.numerics.statistics",
        "plateau_lens.models.prefix",
        "plateau_lens.models.responses",
    ],
    "beartype.beartype",
)


def pytest_configure() -> None:
    """Import sae_lens once, quietly: its first import warns and changes filters and logger levels."""
    from plateau_lens.models.quiet import quiet

    with quiet():
        import sae_lens  # noqa: F401


VOCAB = 200
LLAMA_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 160,
}
GPT2_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 160,
}
NEOX_LIKE = {key: value for key, value in LLAMA_LIKE.items() if key != "num_key_value_heads"}
WINDOW = 5
"""Sliding window, tokens: shorter than every prompt of the engine tests."""
GEMMA_LIKE = {**LLAMA_LIKE, "head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}
BOTH_LAYER_TYPES = ["sliding_attention", "full_attention"] * 2
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str]] = {
    # name: transformers' model type, its configuration, where its list of blocks is
    "gpt2": ("gpt2", GPT2_LIKE, "transformer.h"),
    "gpt_neox": ("gpt_neox", NEOX_LIKE, "gpt_neox.layers"),
    "llama": ("llama", LLAMA_LIKE, "model.layers"),
    "qwen3": ("qwen3", {**LLAMA_LIKE, "head_dim": 8}, "model.layers"),
    "gemma3": ("gemma3_text", {**GEMMA_LIKE, "layer_types": BOTH_LAYER_TYPES}, "model.layers"),
    "gemma2": (
        "gemma2",
        {**GEMMA_LIKE, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0},
        "model.layers",
    ),
    "mistral": ("mistral", {**LLAMA_LIKE, "sliding_window": WINDOW}, "model.layers"),
    "mixtral": ("mixtral", {**LLAMA_LIKE, **EXPERTS}, "model.layers"),
    "opt": (
        "opt",
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 160,
        },
        "model.decoder.layers",
    ),
    "phi": ("phi", {**LLAMA_LIKE, "num_key_value_heads": 4, "partial_rotary_factor": 0.5}, "model.layers"),
    "starcoder2": ("starcoder2", {**LLAMA_LIKE, "sliding_window": WINDOW}, "model.layers"),
    "olmo2": ("olmo2", LLAMA_LIKE, "model.layers"),
    "cohere": ("cohere", {**LLAMA_LIKE, "logit_scale": 1.0}, "model.layers"),
    "stablelm": ("stablelm", LLAMA_LIKE, "model.layers"),
    "granite": (
        "granite",
        {**LLAMA_LIKE, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0},
        "model.layers",
    ),
    "gptj": ("gptj", {**GPT2_LIKE, "rotary_dim": 4}, "transformer.h"),
    "gpt_oss": (
        "gpt_oss",
        {**LLAMA_LIKE, **EXPERTS, "head_dim": 8, "sliding_window": WINDOW},
        "model.layers",
    ),
    "gpt_neo": (
        "gpt_neo",
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_layers": 4,
            "num_heads": 4,
            "max_position_embeddings": 160,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 160,
        },
        "transformer.h",
    ),
    "mpt": ("mpt", {"vocab_size": VOCAB, "d_model": 32, "n_layers": 4, "n_heads": 4}, "transformer.blocks"),
    "bloom": ("bloom", {"vocab_size": VOCAB, "hidden_size": 32, "n_layer": 4, "n_head": 4}, "transformer.h"),
    "falcon-alibi": (
        "falcon",
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "alibi": True,
        },
        "transformer.h",
    ),
    "llama4": (
        "llama4_text",
        {
            **LLAMA_LIKE,
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "num_local_experts": 2,
            "interleave_moe_layer_step": 2,
            "attention_chunk_size": WINDOW,
        },
        "model.layers",
    ),
    "doge": ("doge", LLAMA_LIKE, "model.layers"),
    "bert": ("bert", {**NEOX_LIKE, "is_decoder": False}, "bert.encoder.layer"),
    "mamba": (
        "mamba",
        {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 4},
        "backbone.layers",
    ),
    "lfm2": ("lfm2", {**LLAMA_LIKE, "layer_types": ["conv", "full_attention"] * 2}, "model.layers"),
}
TOKEN_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def build_tiny_model(architecture: str, *, seed: int = 0, **changes: Any) -> Any:
    """A random 4-block model, d_model 32, whose responses are far from trivial."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    from plateau_lens.models.quiet import quiet

    model_type, table, _ = ARCHITECTURES[architecture]
    with quiet():
        config = CONFIG_MAPPING[model_type](**{**TOKEN_IDS, **table, **changes})
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
            elif "norm" not in name and "ln_" not in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def make_tiny_model() -> Callable[..., Any]:
    """Random tiny models by architecture (see ``ARCHITECTURES``); the caller may change what it gets."""
    return build_tiny_model


@pytest.fixture(scope="session")
def blocks_of() -> Callable[[Any, str], Any]:
    """The blocks of a model by the path its architecture keeps them at, not by our own search."""
    return lambda model, architecture: model.get_submodule(ARCHITECTURES[architecture][2])


def full_pass(
    model: Any,
    blocks: Any,
    tokens: torch.Tensor,
    points: torch.Tensor,
    *,
    site: int,
    read: int,
    centre: bool,
) -> dict[str, np.ndarray]:
    """What a response is, the slow way and with none of the library's code.

    Every step is its own whole prompt, whose last token is overwritten before block ``site``; the read-out is
    the output of block ``read - 1``. KL by torch's own ``kl_div`` and JS by scipy's, both in float64.
    """
    found: dict[str, list[np.ndarray]] = {"l2": [], "kl": [], "js": []}
    for prompt, pushed in zip(tokens, points, strict=True):
        seen: list[torch.Tensor] = []

        def push(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], pushed: Any = pushed) -> Any:
            hidden = (args[0] if args else kwargs["hidden_states"]).clone()
            hidden[:, -1] = pushed.to(hidden)
            if args:
                return (hidden, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": hidden}

        def keep(_: Any, __: Any, out: Any, seen: list[torch.Tensor] = seen) -> None:
            seen.append((out[0] if isinstance(out, tuple) else out)[:, -1].double())

        handles = [
            blocks[site].register_forward_pre_hook(push, with_kwargs=True),
            blocks[read - 1].register_forward_hook(keep),
        ]
        try:
            with torch.no_grad():
                logits = model(prompt.expand(len(pushed), -1), use_cache=False).logits[:, -1].double()
        finally:
            for handle in handles:
                handle.remove()
        (read_out,) = seen
        if centre:
            read_out = read_out - read_out.mean(dim=-1, keepdim=True)
        log_p = torch.log_softmax(logits, dim=-1)
        kl = [
            torch.nn.functional.kl_div(row, log_p[0], log_target=True, reduction="sum").item()
            for row in log_p
        ]
        p = log_p.exp().numpy()
        found["l2"].append((read_out - read_out[0]).norm(dim=-1).numpy())
        found["kl"].append(np.array(kl))
        found["js"].append(np.array([jensenshannon(p[0], row, base=2) for row in p]))
    return {name: np.stack(curves) for name, curves in found.items()}


@pytest.fixture(scope="session")
def oracle() -> Callable[..., dict[str, np.ndarray]]:
    """`full_pass`: responses by plain forward passes and hooks written here."""
    return full_pass


SENTENCES = (
    "The old lighthouse keeper climbed the stairs every evening before dark.",
    "Rain fell on the harbour while the boats waited for a calmer morning.",
    "She wrote three letters to her brother and never sent a single one.",
    "A small engine pulled the wagons slowly over the hills to the market.",
    "Nobody remembered who had planted the pear trees behind the school.",
    "In winter the river froze and children walked across it to the mill.",
    "The recipe asks for two eggs, a cup of flour and some patience.",
    "He counted the stars until the clouds came, then went back to sleep.",
    "Every library keeps at least one book that no reader has opened.",
    "They argued about the map, although both of them were already lost.",
    "The market sells onions, candles, old clocks and very good bread.",
    "When the bell rings twice, the baker closes the door and goes home.",
    "My neighbour repairs radios and listens to stations far away at night.",
    "Before the bridge was built, a ferry carried people, carts and horses.",
    "The teacher drew a circle on the board and asked what it was not.",
    "A letter arrived with no stamp, no name and a drawing of a whale.",
)


@pytest.fixture(scope="session")
def sentences() -> tuple[str, ...]:
    """Text that the tiny tokenizer was trained on."""
    return SENTENCES


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 4-block Llama, d_model 32, vocabulary 200, saved with a byte-level BPE tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from plateau_lens.models.quiet import quiet

    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<|endoftext|>"], show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    model = build_tiny_model("llama", pad_token_id=None, bos_token_id=0, eos_token_id=0)
    with quiet():
        model.save_pretrained(folder)
        fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tokens() -> torch.Tensor:
    """Random prompts for the tiny models: 2000 of 6 tokens, none of them special."""
    return torch.randint(5, VOCAB, (2000, 6), generator=torch.Generator().manual_seed(11))


@pytest.fixture(scope="session")
def tiny_activations(tiny_model_folder: Path, tiny_tokens: torch.Tensor) -> torch.Tensor:
    """Activations of the tiny model at ``blocks.1.hook_resid_pre``, read through Hugging Face's own output."""
    from transformers import AutoModelForCausalLM

    from plateau_lens.models.quiet import quiet

    with quiet(), torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
        hidden = model(tiny_tokens, output_hidden_states=True).hidden_states
    return hidden[1][:, -1]


D_SAE = 300


@pytest.fixture(scope="session")
def tiny_sae_rates() -> torch.Tensor:
    """Firing frequencies that the latents of the tiny SAE are made to have: 0.8 % to 20 %."""
    generator = torch.Generator().manual_seed(5)
    low, high = torch.tensor(0.008).log(), torch.tensor(0.2).log()
    return (low + (high - low) * torch.rand(D_SAE, generator=generator)).exp()


@pytest.fixture(scope="session")
def tiny_sae_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_activations: torch.Tensor, tiny_sae_rates: torch.Tensor
) -> Path:
    """A random ReLU SAE of 300 latents in SAELens' format, about 12 of them active on an activation."""
    from sae_lens import StandardSAE, StandardSAEConfig

    from plateau_lens.models.quiet import quiet

    with quiet():
        sae = StandardSAE(StandardSAEConfig(d_in=32, d_sae=D_SAE))
    generator = torch.Generator().manual_seed(6)
    directions = torch.nn.functional.normalize(torch.randn(D_SAE, 32, generator=generator), dim=-1)
    centre = tiny_activations.mean(dim=0)
    scores = (tiny_activations - centre) @ directions.T
    thresholds = torch.stack(
        [scores[:, j].quantile(1 - rate) for j, rate in enumerate(tiny_sae_rates.tolist())]
    )
    codes = (scores - thresholds).clamp_min(0)
    # Ridge regression of the activations on the codes: a decoder that reconstructs most of their variance.
    gram = codes.T @ codes + 3.0 * torch.eye(D_SAE)
    with torch.no_grad():
        sae.W_dec.copy_(torch.linalg.solve(gram, codes.T @ (tiny_activations - centre)))
        sae.W_enc.copy_(directions.T)
        sae.b_enc.copy_(-thresholds)
        sae.b_dec.copy_(centre)
    assert 5 <= (codes > 0).sum(dim=-1).float().mean() <= 20
    folder = tmp_path_factory.mktemp("tiny-sae")
    sae.save_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sae_with_sparsity_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_sae_folder: Path, tiny_sae_rates: torch.Tensor
) -> Path:
    """The same SAE with the log10 firing frequencies that SAELens ships; latents 0, 7 and 299 are dead."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny-sae-sparsity") / "sae"
    shutil.copytree(tiny_sae_folder, folder)
    log10 = tiny_sae_rates.log10()
    log10[[0, 7, 299]] = -10.0
    save_file({"sparsity": log10}, folder / "sparsity.safetensors")
    return folder


@pytest.fixture
def edit_json() -> Callable[..., None]:
    """Change some keys of a JSON file."""

    def edit(path: Path, **changes: Any) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit
