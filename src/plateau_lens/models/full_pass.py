"""The slow way: the full forward pass over every step. The oracle that the suffix engine is held against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens.glossary import Response
from plateau_lens.models import interventions
from plateau_lens.models.centring import centred
from plateau_lens.models.responses import js_response, kl_response, l2_response
from plateau_lens.models.suffix import SuffixEngine


@torch.no_grad()
def full_responses(
    engine: SuffixEngine,
    tokens: Int[Tensor, "pair pos"],
    points: Float[Tensor, "pair step d_model"],
    responses: Sequence[Response] = ("l2", "kl"),
) -> dict[Response, Float[Tensor, "pair step"]]:
    """What `SuffixEngine.respond` returns, by running each step as a whole prompt through the whole model.

    Every step is a row of the batch; its last token's activation is replaced at the site by a hook. Only
    the model, the two sites and centring are taken from ``engine``.
    """
    site_block = engine.blocks[engine.site.boundary]
    read_block = engine.blocks[engine.read_site.boundary - 1]
    rows: list[dict[Response, Tensor]] = []
    for prompt, pushed in zip(
        tokens.to(engine.device), points.to(engine.device, engine.model.dtype), strict=True
    ):
        batch = prompt.expand(len(pushed), -1)
        with (
            interventions.replaced_input(site_block, pushed, position=-1) as pushing,
            interventions.read_output(read_block, position=-1) as reading,
        ):
            output = engine.model(
                input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=False, logits_to_keep=1
            )
        pushing.require(f"pushing at {engine.site}")
        reading.require(f"reading {engine.read_site}")
        assert reading.seen is not None
        logits = output.logits[:, -1][None]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        measured: dict[Response, Tensor] = {
            "l2": l2_response(centred(reading.seen, engine.centre)[None]),
        }
        if "kl" in responses:
            measured["kl"] = kl_response(logits)
        if "js" in responses:
            measured["js"] = js_response(logits)
        rows.append({name: measured[name] for name in responses})
    return {name: torch.cat([row[name] for row in rows]) for name in responses}
