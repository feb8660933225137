"""The engine proves itself on a model: identity, full pass, patching, steps kept apart, centring."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from plateau_lens._devices import double
from plateau_lens.models import interventions
from plateau_lens.models.centring import centred
from plateau_lens.models.full_pass import full_responses
from plateau_lens.models.proof import Proof
from plateau_lens.models.suffix import SuffixEngine
from plateau_lens.responses.registry import RESPONSES, Response


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    name: str
    passed: bool
    value: float
    """The measured figure that ``limit`` bounds."""
    limit: str
    meaning: str


@dataclass(frozen=True)
class CheckReport:
    """All findings on one model."""

    model: str
    site: str
    read_site: str
    centred: bool
    attention: str
    findings: tuple[Finding, ...]
    proofs: tuple[Proof, ...]
    """What the engine proved of itself before it was used, by length of prompt and path and by rows."""

    @property
    def passed(self) -> bool:
        """Whether every finding passed."""
        return all(finding.passed for finding in self.findings)


@torch.no_grad()
def check(
    engine: SuffixEngine, *, n_ctx: int = 10, n_pairs: int = 4, n_steps: int = 20, seed: int = 0
) -> CheckReport:
    """Hold the engine against the model's own forward pass, in every response that is registered.

    Prompts are random token ids (any text will do for an identity), targets each other's activations. Limits
    are relative to the largest response: 1e-4 in float32, 0.1 in bfloat16, and 1e-5 in float64, in which some
    models take a softmax or a router in float32 all the same.

    Args:
        engine: of the model and site to check.
        n_ctx: tokens a prompt.
        n_pairs: prompts.
        n_steps: steps a path.
        seed: of the token ids.
    """
    generator = torch.Generator().manual_seed(seed)
    vocab = engine.model.config.get_text_config().vocab_size
    tokens = torch.randint(min(10, vocab // 2), vocab, (n_pairs, n_ctx), generator=generator)
    base = engine.site_activations(tokens)
    target = base.roll(1, dims=0)
    fraction = torch.linspace(0, 1, n_steps + 1, dtype=base.dtype, device=base.device)
    points = base[:, None] + fraction[None, :, None] * (target - base)[:, None]
    responses = _measurable(engine)
    probe = "kl" if engine.at_end else "l2"
    fast = engine.respond(engine.prefix(tokens), points, responses)
    slow = full_responses(engine, tokens, points, responses)
    limit = {torch.float64: 1e-5, torch.float32: 1e-4}.get(engine.model.dtype, 0.1)
    findings = [
        *(_full_pass(response, fast[name], slow[name], limit) for name, response in responses.items()),
        _identity(engine, tokens, base, limit),
        # What a part of a block adds is not all of the stream, and does not carry another run's logits.
        *([_patch(engine, tokens, limit)] if engine.site.of_stream else []),
        _moves(probe, fast[probe]),
        _apart(engine, tokens, points, probe, fast[probe], limit),
    ]
    if engine.centre:
        findings.append(_centring(engine, tokens, limit))
    return CheckReport(
        model=type(engine.model).__name__,
        site=str(engine.site),
        read_site=str(engine.read_site),
        centred=engine.centre,
        attention="the model's own, masked" if engine.own_attention else "parallel steps",
        findings=tuple(findings),
        proofs=engine.proofs,
    )


def _measurable(engine: SuffixEngine) -> dict[str, Response]:
    """Every registered response by name, with default parameters.

    One that has a parameter without a default is left out, and at the end of the stream those that read the stream.
    """
    return {
        name: known()
        for name, known in RESPONSES.all().items()
        if not any(field.is_required() for field in known.model_fields.values())
        and not (engine.at_end and known.reads == "state")
    }


def _full_pass(response: Response, found: torch.Tensor, wanted: torch.Tensor, limit: float) -> Finding:
    # Values that are rounding on both sides differ by nothing.
    noise = torch.maximum(found, wanted) <= response.noise
    found, wanted = found.masked_fill(noise, 0), wanted.masked_fill(noise, 0)
    meaning = "every step as its own whole prompt"
    return _relative(f"full pass, {response.short}", found, wanted, limit, meaning)


def _relative(name: str, found: torch.Tensor, wanted: torch.Tensor, limit: float, meaning: str) -> Finding:
    found, wanted = double(found), double(wanted)
    scale = wanted.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    error = float((found - wanted).abs().max() / scale)
    return Finding(name, error <= limit, error, f"<= {limit:g}", meaning)


def _logits(engine: SuffixEngine, tokens: torch.Tensor) -> torch.Tensor:
    tokens = tokens.to(engine.device)
    return engine.model(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits


def _identity(engine: SuffixEngine, tokens: torch.Tensor, base: torch.Tensor, limit: float) -> Finding:
    wanted = _logits(engine, tokens)[:, -1]
    found = engine.logits(engine.prefix(tokens), base[:, None])[:, 0]
    return _relative(
        "zero push, logits", found, wanted, limit, "the unperturbed base gives the model's own output"
    )


def _patch(engine: SuffixEngine, tokens: torch.Tensor, limit: float) -> Finding:
    other = tokens.roll(1, dims=0).to(engine.device)
    with (
        engine.stream.read(engine.site, stop=True) as reading,
        interventions.stoppable(),
    ):
        engine.model(input_ids=other, attention_mask=torch.ones_like(other), use_cache=False)
    with engine.stream.replaced(engine.site, reading.required(f"reading {engine.site}")) as pushing:
        found = _logits(engine, tokens)
    pushing.require(f"pushing at {engine.site}")
    return _relative(
        "patch at every position",
        found,
        _logits(engine, other),
        limit,
        "another run's stream gives that run's logits",
    )


def _moves(probe: str, found: torch.Tensor) -> Finding:
    smallest = float(found[:, -1].min())
    return Finding(
        f"non-zero push, {probe.upper()}", smallest > 0, smallest, "> 0", "a push changes the output"
    )


def _apart(
    engine: SuffixEngine,
    tokens: torch.Tensor,
    points: torch.Tensor,
    probe: str,
    found: torch.Tensor,
    limit: float,
) -> Finding:
    middle = points.shape[1] // 2
    alone = engine.respond(engine.prefix(tokens), points[:, [0, middle]], (probe,))[probe][:, 1]
    return _relative(
        "steps kept apart", found[:, middle], alone, limit, "a step alone equals it among all others"
    )


def _centring(engine: SuffixEngine, tokens: torch.Tensor, limit: float) -> Finding:
    with (
        engine.stream.read(engine.site, stop=True) as reading,
        interventions.stoppable(),
    ):
        _logits(engine, tokens)
    with engine.stream.replaced(engine.site, centred(reading.required(f"reading {engine.site}"), True)):
        found = _logits(engine, tokens)
    return _relative(
        "centred stream, logits", found, _logits(engine, tokens), limit, "the model ignores the stream's mean"
    )
