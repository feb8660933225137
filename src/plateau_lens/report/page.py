"""``report.html``: one file that holds everything and asks the network for nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
import yaml

from plateau_lens.glossary import PAPER_WORDS, RESPONSE_NAMES
from plateau_lens.report import definitions
from plateau_lens.report.figures.style import PAGE_WIDTH, kind_styles, save
from plateau_lens.report.numbers import Numbers
from plateau_lens.report.run_data import EXPERIMENT_NAMES, RunData
from plateau_lens.report.sections import claims, controls, differences, ladder, published, sensitivity
from plateau_lens.report.sections import summary as tables
from plateau_lens.report.sections.drawings import Drawing
from plateau_lens.report.sections.explorer import explorer
from plateau_lens.runs.config import RunConfig, dump

_PROMPTS = 10
"""Prompts shown, out of all."""


class Section(NamedTuple):
    """A heading and its tables."""

    title: str
    tables: list[Any]


def render(data: RunData, numbers: Numbers, drawings: Sequence[Drawing], skipped: Sequence[str]) -> str:
    """The page's HTML. Everything that comes from data is escaped by the template."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("plateau_lens.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    config = data.config
    return environment.get_template("page.html.j2").render(
        config=config,
        facts=facts(config),
        colours={kind: each.colour for kind, each in kind_styles(data.kinds).items()},
        key_tables=tables.tables(data, numbers.summary, tables.KEY_GROUPS),
        differences=differences.tables(data, numbers.differences, tables.key_groups(data)),
        differences_notes=differences.notes(data),
        published=published.table(data),
        published_note=published.SOURCE + " " + published.NOTE,
        claims=claims.sentences(numbers.claims),
        claims_notes=claims.notes(data),
        ladder=ladder.tables(data, numbers.ladder),
        ladder_notes=ladder.notes(data),
        realism_of_sae=ladder.realism_of_sae(data, numbers.ladder),
        realism_meaning=definitions.REALISM_OF_SAE,
        drawings=[(each, _data_uri(each), _share_of_page(each)) for each in drawings],
        sensitivity=sensitivity.tables(data, numbers.sensitivity)
        if not numbers.sensitivity.is_empty()
        else [],
        controls=controls.tables(data, numbers.controls) if numbers.controls else [],
        controls_meaning=controls.MEANING,
        explorer=explorer(data),
        sections=_sections(data, numbers.summary),
        notes=tables.common_notes(data),
        statistics=[definitions.statistic(name, config) for name in _statistics(data)],
        experiments=[
            (EXPERIMENT_NAMES[name], text)
            for name, text in definitions.EXPERIMENTS.items()
            if name in config.experiments
        ],
        responses=[RESPONSE_NAMES[name] for name in config.responses],
        words=PAPER_WORDS,
        prompts=_prompts(data),
        n_prompts=len(data.prompts()),
        config_yaml=dump(config),
        provenance=_provenance(data.folder.manifest()),
        skipped=skipped,
    )


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
        ("AP threshold", _shown(config.statistics.ap_threshold)),
        ("Seed", str(config.seed)),
    ]


def _shown(number: float | str) -> str:
    return number if isinstance(number, str) else f"{number:.6g}"


def _statistics(data: RunData) -> list[Any]:
    return list(dict.fromkeys(group.statistic for group in data.samples))


def _sections(data: RunData, frame: pl.DataFrame) -> list[Section]:
    """Every table, folded away by experiment and statistic."""
    return [Section(part.title, tables.tables(data, frame, part.groups)) for part in tables.parts(data)]


def _data_uri(drawing: Drawing) -> str:
    stream = io.BytesIO()
    save(drawing.figure, stream, "svg")
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _share_of_page(drawing: Drawing) -> str:
    return f"{100 * drawing.figure.get_figwidth() / PAGE_WIDTH:.0f}%"


def _prompts(data: RunData) -> list[tuple[int, str]]:
    return list(data.prompts().items())[:_PROMPTS]


class Provenance(NamedTuple):
    """The manifest, in parts of which the long ones are folded away."""

    rows: list[tuple[str, str]]
    """Dotted key and value."""
    shards: list[tuple[str, str]]
    """File and checksum; there can be hundreds."""
    request: str
    """The configuration as it was asked for, YAML."""


def _provenance(manifest: Mapping[str, Any]) -> Provenance:
    apart = ("shards", "request")
    request = manifest.get("request")
    return Provenance(
        rows=list(_flat({key: value for key, value in manifest.items() if key not in apart})),
        shards=list(_flat(manifest.get("shards", {}))),
        request=yaml.safe_dump(request, sort_keys=False, allow_unicode=True) if request else "",
    )


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{key}.{place}")
    elif isinstance(value, list):
        yield key, ", ".join(map(str, value))
    else:
        yield key, "" if value is None else str(value)
