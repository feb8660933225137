"""A run of a tiny model, an SAE and a tokenizer with random weights: all that a run needs, made in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

D_MODEL, D_SAE, VOCAB = 64, 128, 500


def make_resources(work: Path) -> dict[str, Any]:
    """Save a model with its tokenizer under ``model`` and an SAE under ``sae``.

    Returns:
        The settings of a run of them, by dotted key, with a codes experiment beside the paths.
    """
    import torch
    from sae_lens import StandardSAE, StandardSAEConfig
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from plateau_lens.bench.random_gpt2 import random_gpt2
    from plateau_lens.models.quiet import quiet

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<end>": 0, **{each: i + 1 for i, each in enumerate(alphabet)}}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    with quiet():
        random_gpt2(tiny=True).save_pretrained(work / "model")
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>"
        ).save_pretrained(work / "model")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            sae = StandardSAE(StandardSAEConfig(d_in=D_MODEL, d_sae=D_SAE))
        with torch.no_grad():
            sae.W_enc.copy_(sae.W_dec.T)
        sae.save_model(work / "sae")
    return {
        "model.source": str(work / "model"),
        "prompts.source": "sampled",
        "prompts.population": 12,
        "prompts.n_ctx": 6,
        "sae.source": str(work / "sae"),
        "kinds": ["model-generated", "random", "synthetic-baseline"],
        "experiments": {"toward": {}, "codes": {"prompts": 4}},
        "responses": ["l2"],
        "n_steps": 10,
        "unit_size": 2,
        "pairs": 4,
    }


def as_options(settings: dict[str, Any]) -> list[str]:
    """The settings as a command line's ``--set``."""
    import json

    # JSON is YAML; plain text stands as it is.
    return [
        part
        for key, value in settings.items()
        for part in ("--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}")
    ]
