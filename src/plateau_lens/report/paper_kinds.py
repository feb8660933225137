"""The paper's kinds, by their names in this library, and which of a run's labels stand beside them."""

from __future__ import annotations

from collections.abc import Sequence

from plateau_lens.report.run_data import RunData

FOUR = ("model-generated", "random", "synthetic-baseline", "synthetic-structured")
"""Of the paper's figures."""
PAPER_KINDS = (*FOUR, "synthetic-random", "structured-without-cosine", "sae-reconstruction")
"""Of its tables. arXiv 2409.15019v2, section 4.3, appendices A and D."""


def labels_of(data: RunData, names: Sequence[str]) -> tuple[str, ...]:
    """Labels that stand for kinds of the paper, in the run's order.

    That is the kind's own name where the run has it; else every label that the configuration says is of that kind.
    """
    config = data.config
    found = {
        label for name in names for label in ([name] if name in config.kinds else config.labels_of(name))
    }
    return tuple(label for label in data.kinds if label in found)


def own_labels(data: RunData) -> tuple[str, ...]:
    """Labels of kinds that the paper has not."""
    kinds = data.config.kinds
    return tuple(label for label in data.kinds if kinds.get(label, {}).get("kind", label) not in PAPER_KINDS)
