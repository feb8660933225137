"""Architectures that the engine is held against the full pass on, and those that it refuses: one table for
the tests and for `docs/architectures.md`.

Every one is built with random weights, 4 blocks, d_model 32 and a vocabulary of 200. Tolerances are relative to
the largest value of each curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VOCAB = 200
WINDOW = 5
"""Sliding window, tokens: shorter than every prompt of the engine tests."""
EXACT, UPCAST = 1e-10, 1e-5
"""Float64 limits: of plain code, and of code that takes a softmax, a router or a rotation in float32 all the same."""
FLOAT32 = {"l2": 1e-5, "kl": 2e-5, "js": 1e-4}
"""KL and JS of next-token probabilities lose digits to the sums over the vocabulary, L2 does not."""


@dataclass(frozen=True)
class Architecture:
    """One that is driven."""

    model_type: str
    """transformers' name of it."""
    known: str
    """A model of it that people have."""
    special: str
    """What it does unlike a plain Llama, as far as it matters to the engine."""
    config: dict[str, Any]
    blocks: str = "model.layers"
    """Where its list of blocks is."""
    centred: bool = False
    """Whether ``centre="auto"`` centres it: LayerNorm in every norm, all of them before a block's parts."""
    own_attention: bool = False
    """Whether it is given a plain mask instead of the engine's attention function."""
    float64: float | None = EXACT
    """Limit in float64; None where transformers' code does not run in it."""


@dataclass(frozen=True)
class Refused:
    """One that is refused, with a message that says why."""

    model_type: str
    known: str
    why: str
    """The reason, for the page."""
    message: str
    """What the message has to match."""
    config: dict[str, Any]


LLAMA_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 160,
}
ALL_HEADS = {**LLAMA_LIKE, "num_key_value_heads": 4}
NEOX_LIKE = {key: value for key, value in LLAMA_LIKE.items() if key != "num_key_value_heads"}
GPT2_LIKE: dict[str, Any] = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 160}
BART_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "d_model": 32,
    **{f"{part}_layers": 4 for part in ("encoder", "decoder")},
    **{f"{part}_attention_heads": 4 for part in ("encoder", "decoder")},
    **{f"{part}_ffn_dim": 48 for part in ("encoder", "decoder")},
    "max_position_embeddings": 160,
}
LOCAL_AND_GLOBAL = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"] * 2}
GEMMA_LIKE = {**LLAMA_LIKE, "head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
FINE_EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "decoder_sparse_step": 1,
}
DEEPSEEK_EXPERTS = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
FALCON_LIKE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
GPT_NEO_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_layers": 4,
    "num_heads": 4,
    "max_position_embeddings": 160,
    "attention_types": [[["global", "local"], 2]],
}
LINEAR_AND_FULL = ["linear_attention", "full_attention"] * 2
DELTA_NET = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
MAMBA_HEADS = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 4}

ARCHITECTURES: dict[str, Architecture] = {
    "gpt2": Architecture(
        "gpt2", "GPT-2", "learned positions", GPT2_LIKE, blocks="transformer.h", centred=True
    ),
    "gpt_neox": Architecture(
        "gpt_neox",
        "Pythia",
        "attention and MLP in parallel, partial rotary",
        NEOX_LIKE,
        blocks="gpt_neox.layers",
        centred=True,
    ),
    "llama": Architecture(
        "llama", "Llama 3, SmolLM2, TinyLlama", "the plain case: rotary, grouped queries", LLAMA_LIKE
    ),
    "qwen3": Architecture("qwen3", "Qwen3", "queries and keys normed", {**LLAMA_LIKE, "head_dim": 8}),
    "gemma3": Architecture(
        "gemma3_text",
        "Gemma 3",
        "sliding and full attention, each with rotary angles of its own; norms before and after",
        {**GEMMA_LIKE, **LOCAL_AND_GLOBAL},
    ),
    "gemma2": Architecture(
        "gemma2",
        "Gemma 2",
        "soft caps on scores and logits, sliding and full attention",
        {**GEMMA_LIKE, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0},
        float64=UPCAST,
    ),
    "mistral": Architecture(
        "mistral", "Mistral 7B", "sliding window", {**LLAMA_LIKE, "sliding_window": WINDOW}
    ),
    "mixtral": Architecture("mixtral", "Mixtral 8x7B", "mixture of experts", {**LLAMA_LIKE, **EXPERTS}),
    "opt": Architecture(
        "opt",
        "OPT",
        "learned positions with an offset",
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 160,
        },
        blocks="model.decoder.layers",
        centred=True,
    ),
    "phi": Architecture(
        "phi",
        "Phi-2",
        "attention and MLP in parallel, partial rotary",
        {**ALL_HEADS, "partial_rotary_factor": 0.5},
        centred=True,
    ),
    "starcoder2": Architecture(
        "starcoder2",
        "StarCoder2",
        "sliding window, LayerNorm",
        {**LLAMA_LIKE, "sliding_window": WINDOW},
        centred=True,
    ),
    "olmo2": Architecture("olmo2", "OLMo 2", "norms after each part, none before", LLAMA_LIKE),
    "cohere": Architecture(
        "cohere",
        "Command R",
        "attention and MLP in parallel, scaled logits",
        {**LLAMA_LIKE, "logit_scale": 1.0},
        centred=True,
    ),
    "stablelm": Architecture("stablelm", "StableLM 2", "partial rotary, LayerNorm", LLAMA_LIKE, centred=True),
    "granite": Architecture(
        "granite",
        "Granite 3",
        "embeddings, residuals and logits scaled",
        {**LLAMA_LIKE, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    ),
    "gptj": Architecture(
        "gptj",
        "GPT-J",
        "blocks return tuples; attention of its own",
        {**GPT2_LIKE, "rotary_dim": 4},
        blocks="transformer.h",
        centred=True,
        own_attention=True,
        float64=UPCAST,
    ),
    "gpt_oss": Architecture(
        "gpt_oss",
        "gpt-oss",
        "attention sinks, mixture of experts, sliding and full attention",
        {**LLAMA_LIKE, **EXPERTS, "head_dim": 8, "sliding_window": WINDOW},
    ),
    "gpt_neo": Architecture(
        "gpt_neo",
        "GPT-Neo, TinyStories",
        "a window counted in keys: it has to hold prompt and steps",
        {**GPT_NEO_LIKE, "window_size": 160},
        blocks="transformer.h",
        centred=True,
        own_attention=True,
        float64=UPCAST,
    ),
    "qwen2": Architecture(
        "qwen2",
        "Qwen2.5",
        "biases on queries, keys and values; sliding and full attention",
        {**LLAMA_LIKE, "use_sliding_window": True, **LOCAL_AND_GLOBAL},
    ),
    "qwen2_moe": Architecture(
        "qwen2_moe",
        "Qwen1.5-MoE",
        "mixture of experts and a gated shared one",
        {**LLAMA_LIKE, **FINE_EXPERTS},
    ),
    "qwen3_moe": Architecture(
        "qwen3_moe",
        "Qwen3-30B-A3B",
        "mixture of experts, queries and keys normed",
        {**LLAMA_LIKE, **FINE_EXPERTS, "head_dim": 8},
    ),
    "olmo": Architecture(
        "olmo",
        "OLMo",
        "LayerNorm without weights, clipped projections",
        {**LLAMA_LIKE, "clip_qkv": 0.5},
        centred=True,
    ),
    "olmo3": Architecture(
        "olmo3",
        "OLMo 3",
        "norms after each part, sliding and full attention with a mask for each",
        {**LLAMA_LIKE, **LOCAL_AND_GLOBAL},
    ),
    "olmoe": Architecture("olmoe", "OLMoE", "mixture of experts", {**LLAMA_LIKE, **FINE_EXPERTS}),
    "gemma": Architecture(
        "gemma",
        "Gemma",
        "one key head, scaled embeddings",
        {**LLAMA_LIKE, "head_dim": 8, "num_key_value_heads": 1},
    ),
    "gemma4": Architecture(
        "gemma4_text",
        "Gemma 4",
        "an embedding of the token at every block; sliding and full attention with heads of unlike width",
        {
            **LLAMA_LIKE,
            **LOCAL_AND_GLOBAL,
            "head_dim": 8,
            "global_head_dim": 16,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": VOCAB,
            "num_kv_shared_layers": 0,
        },
    ),
    "phi3": Architecture(
        "phi3",
        "Phi-3, Phi-4",
        "one projection for queries, keys and values; sliding window",
        {**LLAMA_LIKE, "sliding_window": WINDOW},
    ),
    "falcon": Architecture(
        "falcon",
        "Falcon 7B",
        "one key head, attention and MLP in parallel, tuples; attention of its own",
        {**FALCON_LIKE, "multi_query": True, "parallel_attn": True, "alibi": False},
        blocks="transformer.h",
        centred=True,
        own_attention=True,
    ),
    "falcon-new": Architecture(
        "falcon",
        "Falcon 40B",
        "the same with grouped keys and two norms in parallel (`new_decoder_architecture`)",
        {**FALCON_LIKE, "new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False},
        blocks="transformer.h",
        centred=True,
        own_attention=True,
    ),
    "gpt_bigcode": Architecture(
        "gpt_bigcode",
        "StarCoder, SantaCoder",
        "one key head, learned positions",
        GPT2_LIKE,
        blocks="transformer.h",
        centred=True,
    ),
    "codegen": Architecture(
        "codegen",
        "CodeGen",
        "blocks return tuples; attention of its own",
        {**GPT2_LIKE, "rotary_dim": 4},
        blocks="transformer.h",
        centred=True,
        own_attention=True,
        float64=UPCAST,
    ),
    "gpt_neox_japanese": Architecture(
        "gpt_neox_japanese",
        "GPT-NeoX Japanese",
        "an attention bias in its last block alone; blocks return tuples; attention of its own",
        NEOX_LIKE | {"intermediate_multiple_size": 2},
        blocks="gpt_neox_japanese.layers",
        centred=True,
        own_attention=True,
    ),
    "smollm3": Architecture(
        "smollm3",
        "SmolLM3",
        "some blocks without positions",
        {**LLAMA_LIKE, "no_rope_layers": [1, 0, 1, 0]},
    ),
    "cohere2": Architecture(
        "cohere2",
        "Command R7B",
        "sliding attention with rotary, full attention without positions, parallel MLP",
        {**LLAMA_LIKE, **LOCAL_AND_GLOBAL, "logit_scale": 1.0},
        centred=True,
    ),
    "exaone4": Architecture(
        "exaone4",
        "EXAONE 4",
        "sliding attention with rotary, full attention without positions, norms after",
        {**LLAMA_LIKE, **LOCAL_AND_GLOBAL},
    ),
    "ministral3": Architecture(
        "ministral3",
        "Ministral 3",
        "queries scaled by their position",
        {**LLAMA_LIKE, "head_dim": 8, "sliding_window": WINDOW},
    ),
    "deepseek_v2": Architecture(
        "deepseek_v2",
        "DeepSeek-V2-Lite",
        "latent attention (MLA): it keeps what its keys and values are made from; mixture of experts",
        {**ALL_HEADS, **LATENT, **DEEPSEEK_EXPERTS},
        own_attention=True,
        float64=UPCAST,
    ),
    "deepseek_v3": Architecture(
        "deepseek_v3",
        "DeepSeek-V3, Moonlight",
        "latent attention (MLA), mixture of experts routed in groups",
        {**ALL_HEADS, **LATENT, **DEEPSEEK_EXPERTS},
        own_attention=True,
        float64=UPCAST,
    ),
    "glm": Architecture(
        "glm", "GLM-4-9B", "partial rotary on neighbouring pairs", {**LLAMA_LIKE, "head_dim": 8}
    ),
    "glm4": Architecture("glm4", "GLM-4-0414", "norms before and after", {**LLAMA_LIKE, "head_dim": 8}),
    "glm4_moe": Architecture(
        "glm4_moe",
        "GLM-4.5",
        "mixture of experts after a dense block",
        {**LLAMA_LIKE, **DEEPSEEK_EXPERTS, "head_dim": 8},
        float64=UPCAST,
    ),
    "nemotron": Architecture(
        "nemotron",
        "Minitron",
        "LayerNorm with one added to its weight, squared ReLU",
        {**LLAMA_LIKE, "head_dim": 8},
        centred=True,
    ),
    "persimmon": Architecture(
        "persimmon", "Persimmon", "LayerNorm on queries and keys, partial rotary", NEOX_LIKE, centred=True
    ),
    "helium": Architecture("helium", "Helium", "rotary on neighbouring pairs", {**LLAMA_LIKE, "head_dim": 8}),
    "bitnet": Architecture("bitnet", "BitNet b1.58", "norms inside attention and MLP", LLAMA_LIKE),
    "granitemoe": Architecture(
        "granitemoe", "Granite 3 MoE", "mixture of experts, scaled residuals", {**LLAMA_LIKE, **EXPERTS}
    ),
    "hunyuan": Architecture(
        "hunyuan_v1_dense", "Hunyuan", "queries and keys normed after rotation", {**LLAMA_LIKE, "head_dim": 8}
    ),
    "apertus": Architecture("apertus", "Apertus", "a trained activation function (xIELU)", LLAMA_LIKE),
    "nanochat": Architecture("nanochat", "nanochat", "norms without weights, soft cap on logits", LLAMA_LIKE),
    "modernbert": Architecture(
        "modernbert-decoder",
        "Ettin",
        "LayerNorm, local and global attention with rotary angles of their own",
        {**NEOX_LIKE, "sliding_window": WINDOW, "layer_types": LOCAL_AND_GLOBAL["layer_types"]},
        centred=True,
    ),
    "afmoe": Architecture(
        "afmoe",
        "Trinity",
        "gated attention, local with rotary and global without; mixture of experts",
        {**LLAMA_LIKE, **FINE_EXPERTS, **LOCAL_AND_GLOBAL, "num_dense_layers": 1, "head_dim": 8},
        float64=UPCAST,
    ),
    "mimo": Architecture(
        "mimo_v2_flash",
        "MiMo-V2-Flash",
        "attention sinks in sliding blocks, values of another width than keys, mixture of experts",
        {
            **LLAMA_LIKE,
            **DEEPSEEK_EXPERTS,
            **LOCAL_AND_GLOBAL,
            "head_dim": 16,
            "v_head_dim": 8,
        },
        float64=UPCAST,
    ),
    "diffllama": Architecture(
        "diffllama",
        "DiffLlama",
        "the difference of two attentions; attention of its own",
        LLAMA_LIKE,
        own_attention=True,
    ),
    "jetmoe": Architecture(
        "jetmoe",
        "JetMoE",
        "experts in the attention too; attention of its own",
        {**LLAMA_LIKE, **EXPERTS, "kv_channels": 8},
        own_attention=True,
    ),
    "xglm": Architecture(
        "xglm",
        "XGLM",
        "sinusoidal positions; attention of its own",
        {"vocab_size": VOCAB, "d_model": 32, "ffn_dim": 48, "num_layers": 4, "attention_heads": 4},
        centred=True,
        own_attention=True,
        float64=None,
    ),
    "ctrl": Architecture(
        "ctrl",
        "CTRL",
        "sinusoidal positions, of 2019",
        {"vocab_size": VOCAB, "n_embd": 32, "dff": 48, "n_layer": 4, "n_head": 4, "n_positions": 160},
        blocks="transformer.h",
        centred=True,
    ),
    "biogpt": Architecture(
        "biogpt",
        "BioGPT",
        "learned positions counted from the attention mask",
        NEOX_LIKE,
        blocks="biogpt.layers",
        centred=True,
    ),
    "llama4": Architecture(
        "llama4_text",
        "Llama 4",
        "attention in chunks, which have to hold the prompt; queries scaled by position; mixture of experts",
        {
            **LLAMA_LIKE,
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "num_local_experts": 2,
            "interleave_moe_layer_step": 2,
            "attention_chunk_size": 160,
        },
        float64=UPCAST,
    ),
}

TWO_STACKS = "encoder-decoder: what it says depends on a second text"
RUNNING_STATE = "keeps a running state, not keys and values, so that a step would see the ones before it"
HYBRID = "some blocks keep a running state, not keys and values"
PLACE = (
    "ALiBi: attention is biased by a key's place in the row, and steps share one position but not one place"
)
STATE = r"keeps? a running state \(state-space"
ALIBI = r"place in the row \(ALiBi\)"
OTHER_WAY = "makes a mask of its own, or keeps the past in a way of its own"
TOO_LONG = "cannot be driven with prompts of 12 tokens and 10 steps"

REFUSED: dict[str, Refused] = {
    "t5": Refused(
        "t5",
        "T5",
        TWO_STACKS,
        "is an encoder-decoder",
        {"vocab_size": VOCAB, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 4, "num_heads": 4},
    ),
    "bart": Refused("bart", "BART", TWO_STACKS, "is an encoder-decoder", BART_LIKE),
    "bert": Refused(
        "bert",
        "BERT, RoBERTa",
        "an encoder: embeddings apart from the blocks, and attention to what comes after",
        "keeps its token embeddings apart",
        NEOX_LIKE,
    ),
    "mamba": Refused(
        "mamba",
        "Mamba",
        RUNNING_STATE,
        STATE,
        {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 4},
    ),
    "mamba2": Refused(
        "mamba2",
        "Mamba 2",
        RUNNING_STATE,
        STATE,
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "state_size": 4,
            "num_heads": 8,
            "head_dim": 8,
            "n_groups": 1,
        },
    ),
    "rwkv": Refused(
        "rwkv",
        "RWKV 4",
        RUNNING_STATE,
        OTHER_WAY,
        {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 4, "context_length": 160},
    ),
    "jamba": Refused(
        "jamba",
        "Jamba",
        HYBRID,
        STATE,
        {**LLAMA_LIKE, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4, "num_experts": 2},
    ),
    "bamba": Refused(
        "bamba", "Bamba", HYBRID, STATE, {**LLAMA_LIKE, "attn_layer_indices": [1, 3], **MAMBA_HEADS}
    ),
    "recurrent_gemma": Refused(
        "recurrent_gemma",
        "RecurrentGemma",
        HYBRID,
        STATE,
        {**LLAMA_LIKE, "lru_width": 32, "attention_window_size": 160, "head_dim": 8},
    ),
    "lfm2": Refused(
        "lfm2", "LFM2", HYBRID, STATE, {**LLAMA_LIKE, "layer_types": ["conv", "full_attention"] * 2}
    ),
    "qwen3_next": Refused(
        "qwen3_next",
        "Qwen3-Next",
        HYBRID,
        STATE,
        {**LLAMA_LIKE, **FINE_EXPERTS, **DELTA_NET, "layer_types": LINEAR_AND_FULL, "head_dim": 8},
    ),
    "qwen3_5": Refused(
        "qwen3_5_text",
        "Qwen3.5",
        HYBRID,
        STATE,
        {**LLAMA_LIKE, **DELTA_NET, "layer_types": LINEAR_AND_FULL, "head_dim": 8},
    ),
    "bloom": Refused(
        "bloom", "BLOOM", PLACE, ALIBI, {"vocab_size": VOCAB, "hidden_size": 32, "n_layer": 4, "n_head": 4}
    ),
    "mpt": Refused(
        "mpt", "MPT", PLACE, ALIBI, {"vocab_size": VOCAB, "d_model": 32, "n_layers": 4, "n_heads": 4}
    ),
    "falcon-alibi": Refused("falcon", "Falcon RW", PLACE, ALIBI, {**FALCON_LIKE, "alibi": True}),
    "openai-gpt": Refused(
        "openai-gpt", "GPT-1", "takes no cache for the prompt's prefix", OTHER_WAY, GPT2_LIKE
    ),
    "gemma3n": Refused(
        "gemma3n_text",
        "Gemma 3n",
        "several residual streams",
        "not one residual stream",
        {
            **LLAMA_LIKE,
            **LOCAL_AND_GLOBAL,
            "head_dim": 8,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": VOCAB,
            "num_kv_shared_layers": 0,
        },
    ),
    "gemma4-shared": Refused(
        "gemma4_text",
        "Gemma 4 with shared keys",
        "some blocks attend to another block's keys",
        "no keys and values of their own",
        {**ARCHITECTURES["gemma4"].config, "num_kv_shared_layers": 2},
    ),
    "deepseek_v32": Refused(
        "deepseek_v32",
        "DeepSeek-V3.2",
        "an indexer chooses the keys, and keeps keys of its own",
        "more than keys and values",
        {
            **ALL_HEADS,
            **LATENT,
            **DEEPSEEK_EXPERTS,
            "index_head_dim": 16,
            "index_n_heads": 4,
            "index_topk": 64,
        },
    ),
    "llama4-chunks": Refused(
        "llama4_text",
        "Llama 4",
        "a prompt longer than a chunk of its attention (8,192 tokens)",
        TOO_LONG,
        {**ARCHITECTURES["llama4"].config, "attention_chunk_size": 10},
    ),
    "gpt_neo-window": Refused(
        "gpt_neo",
        "GPT-Neo",
        "a window (256 keys) shorter than prompt and steps together",
        TOO_LONG,
        {**GPT_NEO_LIKE, "window_size": 14},
    ),
    "phimoe-window": Refused(
        "phimoe",
        "Phi-3.5-MoE",
        "a prompt longer than its sliding window (131,072 tokens), which only its mask knows of",
        TOO_LONG,
        {**LLAMA_LIKE, **EXPERTS, "sliding_window": 10},
    ),
}
