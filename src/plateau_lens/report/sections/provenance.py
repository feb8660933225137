"""Where a run's numbers come from: versions, revisions, checksums, configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from plateau_lens.report.sections.registry import Block, Code, Drawing, Fold, Pairs, Section, section
from plateau_lens.runs.config import dump


@section("provenance")
class ProvenanceSection(Section):
    """The manifest, and the configuration as asked for and as resolved."""

    title = "Provenance"
    place = 130

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """Folded away but the manifest."""
        found = _provenance(self.data.folder.manifest())
        yield Fold("Manifest", [Pairs(found.rows)], is_open=True)
        if found.shards:
            yield Fold(f"Checksums of {len(found.shards)} shard files", [Pairs(found.shards)])
        if found.request:
            yield Fold("Configuration, as asked for", [Code(found.request)])
        yield Fold("Configuration, as resolved", [Code(dump(self.data.config))])


class Provenance(NamedTuple):
    """The manifest, in parts of which the long ones are folded away."""

    rows: list[tuple[str, str]]
    """Dotted key and value."""
    shards: list[tuple[str, str]]
    """File and checksum; there can be hundreds."""
    request: str
    """The configuration as it was asked for, YAML."""


def _provenance(manifest: Mapping[str, Any]) -> Provenance:
    apart = ("shards", "request", "report")
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
