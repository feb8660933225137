"""Axis names and symbols used throughout, mapped to the words of the paper (arXiv 2409.15019).

Axes, as they appear in every shape comment and jaxtyping annotation:

========== =====================================================================================
pair       one (prompt, base, target) triple; the unit that is resampled and sharded
pos        token position; prompts are ``n_ctx`` tokens and the site is the last one
step       0..n_steps along the path; step 0 is the unperturbed base (n_steps + 1 points)
d_model    width of the residual stream
d_sae      number of latents of the sparse autoencoder
vocab      number of next-token logits
========== =====================================================================================
"""

from __future__ import annotations

from typing import Final, Literal, get_args

PAPER: Final = "arXiv 2409.15019v2"
"""The edition of the paper whose figures, tables and sections are cited."""

Schedule = Literal["absolute", "relative"]
SCHEDULES: Final[tuple[Schedule, ...]] = get_args(Schedule)

PAPER_WORDS: Final[dict[str, str]] = {
    "base": "base activation: where a path starts (A)",
    "target": "target activation: where a path leads (T)",
    "direction": "unit vector from base to target, D = (T - A) / |T - A|",
    "distance": "|T - A|, L2, in residual-stream units",
    "response": "what is measured at each step: l2, kl or js",
    "kind": "how an activation is made: model-generated, random, synthetic-baseline, ...",
    "site": "where the residual stream is pushed, e.g. blocks.1.hook_resid_pre",
    "read site": "where L2 is measured, e.g. blocks.11.hook_resid_post",
    "model-generated": "an activation the model itself computed for another prompt",
    "synthetic-baseline": "'bag of latents': active latents swapped for others of like firing frequency",
    "synthetic-structured": "active latents swapped so that decoder cosines to the top latent are kept",
    "code": "the SAE's latent activations of one residual-stream activation",
}
