"""``plateau-lens check``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from plateau_lens import presets
from plateau_lens._errors import EngineError
from plateau_lens.experiments.config import load_config


def check_command(source: str, site: str, read_site: str, n_ctx: int, device: str, dtype: str) -> None:
    """Print what was measured; exit 1 if anything is out of bounds."""
    from plateau_lens.models.check import check
    from plateau_lens.models.sources import load_model
    from plateau_lens.models.suffix import SuffixEngine

    if source in presets.names():
        source = load_config(source).model.source
    engine = SuffixEngine(load_model(source, device=device, dtype=dtype).model, site, read_site)
    found = check(engine, n_ctx=n_ctx)
    console = Console()
    table = Table(
        title=f"{found.model}: {found.site} to {found.read_site}, {dtype}, "
        f"{'centred' if found.centred else 'not centred'}, attention: {found.attention}",
        title_justify="left",
    )
    for heading in ("check", "", "measured", "limit", "what it means"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for finding in found.findings:
        table.add_row(
            finding.name,
            "ok" if finding.passed else "FAILED",
            f"{finding.value:.3g}",
            finding.limit,
            finding.meaning,
        )
    console.print(table)
    if not found.passed:
        raise EngineError(f"{source!r} failed: do not trust curves of this model at {site}")
