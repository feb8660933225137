"""What the engine is meant to reach, beside what it reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Target(NamedTuple):
    """One figure of a benchmark and the bound on it."""

    work: str
    against: str
    figure: str
    """Key of the record, dotted."""
    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether the figure is within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


CURVE = "a curve of L2 and KL"
TARGETS = (
    Target(
        f"{CURVE}, 10-token prompts",
        "TransformerLens hooks, full prompts",
        "vs_transformer_lens.10",
        12,
        at_least=True,
    ),
    Target(f"{CURVE}, 10-token prompts", "matrix-product limit", "fraction_of_limit", 0.8, at_least=True),
    Target(
        f"{CURVE}, 128-token prompts",
        "TransformerLens hooks, full prompts",
        "vs_transformer_lens.128",
        100,
        at_least=True,
    ),
    Target(f"{CURVE}, 1,024-token prompts", "10-token prompts", "long_prompt_cost", 3, at_least=False),
    Target("bfloat16 matrix products", "float32", "bf16_speedup", 2.5, at_least=True),
    Target("L2 only", "unembeddings computed", "unembeddings.l2", 0, at_least=False),
    Target(
        "synthetic-structured targets", "their base passes", "structured_vs_base_passes", 1, at_least=False
    ),
)
"""For GPT-2 small's shape on 2 cores; for another model a yardstick."""


def judge(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each target with its figure and whether it is met; None where the figure could not be had."""
    found: list[dict[str, Any]] = []
    for target in TARGETS:
        value = look_up(record, target.figure)
        found.append(
            {
                "work": target.work,
                "against": target.against,
                "figure": value,
                "target": f"{'>=' if target.at_least else '<='} {target.bound:g}",
                "met": None if value is None else target.met(value),
            }
        )
    return found


def look_up(record: Mapping[str, Any], dotted: str) -> float | None:
    """A figure by its key, or None where any part of it is missing."""
    found: Any = record
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
