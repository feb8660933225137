"""The slow way: the full forward pass over every step. The oracle that the suffix engine is held against."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens._devices import double
from plateau_lens.models import interventions
from plateau_lens.models.centring import centred
from plateau_lens.models.exclusive import exclusive
from plateau_lens.models.suffix import SuffixEngine
from plateau_lens.responses.registry import Responses, asked_for


@torch.no_grad()
def full_responses(
    engine: SuffixEngine,
    tokens: Int[Tensor, "pair pos"],
    points: Float[Tensor, "pair step d_model"],
    responses: Responses = ("l2", "kl"),
) -> dict[str, Float[Tensor, "pair step"]]:
    """What `SuffixEngine.respond` returns, by running each step as a whole prompt through the whole model.

    Every step is a row of the batch; its last token's activation is replaced at the site by a hook. Every response is
    measured by its definition. Only the model, the sites and centring are taken from ``engine``.
    """
    made = asked_for(responses)
    sites = engine.read_sites(made)
    of_final = any(response.reads == "final" for response in made.values())
    decoder = interventions.decoder_of(engine.model, engine.blocks) if of_final else None
    rows: list[dict[str, Tensor]] = []
    for prompt, pushed in zip(
        tokens.to(engine.device), points.to(engine.device, engine.model.dtype), strict=True
    ):
        batch = prompt.expand(len(pushed), -1)
        with ExitStack() as stack:
            stack.enter_context(exclusive(engine.blocks))
            pushing = stack.enter_context(engine.stream.replaced(engine.site, pushed, position=-1))
            reading = {
                site: stack.enter_context(engine.stream.read_behind(site, position=-1))
                for site in set(sites.values())
            }
            ending = stack.enter_context(interventions.read_output(decoder, position=-1)) if decoder else None
            output = engine.model(
                input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=False, logits_to_keep=1
            )
        pushing.require(f"pushing at {engine.site}")
        states = {site: each.required(f"reading {site}") for site, each in reading.items()}
        logits = output.logits[:, -1]
        behind = {"logits": logits.to(torch.promote_types(logits.dtype, torch.float32))}
        if ending is not None:
            behind["final"] = ending.required("reading final states")
        row: dict[str, Tensor] = {}
        for label, response in made.items():
            read = centred(states[sites[label]], engine.centre) if label in sites else behind[response.reads]
            row[label] = double(response.of(read[None]))
        rows.append(row)
    return {label: torch.cat([row[label] for row in rows]) for label in made}
