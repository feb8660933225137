"""``report.html``: one file that holds everything and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from plateau_lens.report import definitions
from plateau_lens.report.figures.style import PAGE_WIDTH, kind_styles, save
from plateau_lens.report.html import environment
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import Block, Drawing, Section
from plateau_lens.runs.config import RunConfig
from plateau_lens.runs.plugins import answering


@dataclass(frozen=True)
class Chapter:
    """What the page has of one section, under one heading."""

    anchor: str
    heading: str
    blocks: tuple[Block, ...]


def render(
    data: RunData, sections: Sequence[tuple[Section, Sequence[Drawing]]], skipped: Sequence[str]
) -> str:
    """The page's HTML. Everything that comes from data is escaped by the template.

    Args:
        data: the run.
        sections: in their order, each with its drawings.
        skipped: what the run cannot have, and why.
    """
    first: list[Chapter] = []
    last: list[Chapter] = []
    for section, drawings in sections:
        with answering(section):
            first.append(Chapter(section.name, section.heading, tuple(section.blocks(drawings))))
            every = f"{section.heading}: all tables"
            last.append(Chapter(f"{section.name}-all", every, tuple(section.appendix())))
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            config=data.config,
            facts=facts(data.config),
            colours={kind: each.colour for kind, each in kind_styles(data.kinds).items()},
            chapters=[chapter for chapter in (*first, *last) if chapter.blocks],
            skipped=skipped,
            scripts=" ".join(_hash(text) for section, _ in sections for text in section.scripts())
            or "'none'",
            sort_of=lambda block: type(block).__name__,
            image_of=_data_uri,
            width_of=_share_of_page,
        )
    )


def _hash(script: str) -> str:
    """As a Content-Security-Policy names a script that may run."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def facts(config: RunConfig) -> list[tuple[str, str]]:
    """What was run, in the few lines that a reader asks for first."""
    sae = config.sae
    return [
        ("Model", config.model.source + (f" at {config.model.revision}" if config.model.revision else "")),
        ("SAE", "none" if sae is None else " / ".join(filter(None, (sae.source, sae.id)))),
        ("Site", config.site),
        ("Read site", config.read_site),
        ("Pairs", f"{config.pairs}, prompts of {config.prompts.n_ctx} tokens ({config.prompts.source})"),
        ("Population", f"{config.prompts.population} prompts"),
        ("Experiments", ", ".join(config.experiments)),
        ("Kinds", ", ".join(config.kinds)),
        ("Steps", f"{config.n_steps}; absolute: {definitions.unit('absolute', config)}"),
        ("AP threshold", _shown(config.statistics.get("ap", {}).get("threshold", "none"))),
        ("Seed", str(config.seed)),
    ]


def _shown(number: float | str) -> str:
    return number if isinstance(number, str) else f"{number:.6g}"


def _data_uri(drawing: Drawing) -> str:
    stream = io.BytesIO()
    save(drawing.figure, stream, "svg")
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _share_of_page(drawing: Drawing) -> str:
    return f"{100 * drawing.figure.get_figwidth() / PAGE_WIDTH:.0f}%"
