"""``plateau-lens check``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from plateau_lens import presets
from plateau_lens._errors import EngineError
from plateau_lens.runs.config import load_config

DEFAULT_SITE = "blocks.1.hook_resid_pre"


def check_command(
    source: str, site: str | None, read_site: str | None, n_ctx: int, device: str, dtype: str
) -> None:
    """Print what was measured; exit 1 if anything is out of bounds."""
    from plateau_lens.models.check import check
    from plateau_lens.models.sources import load_model
    from plateau_lens.models.suffix import SuffixEngine

    revision, centre = None, "auto"
    if source in presets.names():
        config = load_config(source)
        source, revision, centre = config.model.source, config.model.revision, config.model.centre
        site, read_site = site or config.site, read_site or config.read_site
    loaded = load_model(source, revision=revision, device=device, dtype=dtype)
    engine = SuffixEngine(loaded.model, site or DEFAULT_SITE, read_site or "auto", centre=centre)
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
        raise EngineError(f"{source!r} failed: do not trust curves of this model at {found.site}")
