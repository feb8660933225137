"""GPT-2 small's shape with random weights: what is measured where no model is named. Nothing is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GPT2_SMALL = "GPT-2 small's shape, random weights"
TINY_GPT2 = "a tiny GPT-2, random weights"


def random_gpt2(*, tiny: bool = False, seed: int = 0, device: str = "cpu") -> PreTrainedModel:
    """A GPT-2 in float32 and evaluation mode, initialised as transformers does.

    Args:
        tiny: 4 blocks of d_model 64 over 500 tokens, for a benchmark of seconds.
        seed: of the weights; the caller's random state is left alone.
        device: torch device.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: dict[str, Any] = {"n_layer": 4, "n_embd": 64, "n_head": 4, "vocab_size": 500} if tiny else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    return model.to(device).eval().requires_grad_(False)
