"""``plateau-lens check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from plateau_lens import presets
from plateau_lens._errors import DamageError, EngineError
from plateau_lens.cli.terminal import terminal
from plateau_lens.runs.config import load_config
from plateau_lens.runs.folder import RunFolder

if TYPE_CHECKING:
    from plateau_lens.models.proof import Proof

DEFAULT_SITE = "blocks.1.hook_resid_pre"


def check_command(
    source: str, site: str | None, read_site: str | None, n_ctx: int, device: str, dtype: str
) -> None:
    """Print what was measured and what was proved; exit 1 if anything is out of bounds.

    A run folder has its checksums verified.
    """
    if source not in presets.names() and (Path(source) / "manifest.json").is_file():
        _verify(RunFolder(Path(source)))
        return
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
    terminal(soft_wrap=False).print(table)
    terminal(soft_wrap=False).print(_proved(found.proofs))
    if not found.passed:
        raise EngineError(f"{source!r} failed: do not trust curves of this model at {found.site}")


def _verify(folder: RunFolder) -> None:
    """Every file that a run's manifest names is held against its checksum.

    Raises:
        RunFolderError: naming every damaged file, what is lost with it, and the command that makes it again.
    """
    manifest, damage = folder.manifest(), folder.damage()
    if damage:
        raise DamageError(f"{folder.path} is damaged:\n  " + "\n  ".join(map(str, damage)))
    files = sum(len(manifest.get(part, {})) for part in ("shards", "files", "report"))
    state = "finished" if "finished" in manifest else "not finished: `plateau-lens run` goes on with it"
    terminal().print(f"{folder.path}: {files} files are as they were written; {state}.")


def _proved(proofs: tuple[Proof, ...]) -> Table:
    """A row for every time that parallel steps were held against each step alone; errors relative to the largest."""
    of = proofs[0]
    table = Table(
        title=f"Proved when the engine was made and first used, on {of.device}, model in {of.dtype}, pushed at "
        f"{of.site}: parallel steps give what each step alone gives",
        title_justify="left",
    )
    errors = [f"error, {response}" for response in of.errors]
    for heading in ("tokens", "points", "prompts", "tried in", *errors):
        table.add_column(heading, justify="left" if heading == "tried in" else "right")
    for proof in proofs:
        table.add_row(
            *(str(n) for n in (proof.n_ctx, proof.n_points, proof.n_pairs)),
            proof.tried_in,
            *(f"{error.value:.2g} <= {error.limit:.2g}" for error in proof.errors.values()),
        )
    return table
