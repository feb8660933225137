"""Copy what the documentation shows of a finished run: figures, Markdown and CSV tables, configuration, manifest.

    python scripts/publish_results.py runs/big docs/results/smollm2-135m-1000
    python scripts/publish_results.py --check docs

Figures are scaled to 6.9 in at 140 dpi, the width at which they are shown, in full colour: a palette makes kinds the
same that differ in hue alone. The run folder keeps the full ones. Of paths on this machine only the last part is
published. An earlier copy is replaced. ``--check`` names every PNG below a folder that has a palette.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from PIL import Image

from plateau_lens.runs.folder import OWN

WIDTH = 966
LARGEST = 200_000
"""Bytes of a table; the run folder has the larger ones."""
MOST = 4_000_000
"""Bytes of a run's figures."""
PALETTE = 3
"""Colour type in a PNG's header."""


def publish(run: Path, out: Path) -> None:
    """Copy the run's report to ``out``.

    Raises:
        SystemExit: if the run has no report, or its figures are too large; ``out`` is left as it was.
    """
    if not (run / "figures" / "captions.md").is_file():
        sys.exit(f"{run} has no figures: plateau-lens report {run}")
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _copy(run, fresh)
        size = sum(path.stat().st_size for path in (fresh / "figures").iterdir())
        if size > MOST:
            sys.exit(f"the figures of {run} come to {size:,} bytes, more than {MOST:,}")
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _copy(run: Path, out: Path) -> None:
    for part in ("figures", "tables"):
        (out / part).mkdir(parents=True)
    for path in sorted((run / "figures").glob("*.png")):
        _shrink(path, out / "figures" / path.name)
    shutil.copy(run / "figures" / "captions.md", out / "figures")
    for path in sorted((run / "tables").iterdir()):
        if path.suffix in {".md", ".csv"} and path.stat().st_size <= LARGEST:
            shutil.copy(path, out / "tables")
    config = yaml.safe_load((run / "config.yaml").read_text())
    (out / "config.yaml").write_text(
        yaml.safe_dump(without_paths(config), sort_keys=False, allow_unicode=True)
    )
    manifest = json.loads((run / "manifest.json").read_text())
    manifest.pop(OWN, None)  # of the manifest with its paths
    text = json.dumps(without_paths(manifest), indent=2, ensure_ascii=False)
    (out / "manifest.json").write_text(text + "\n")


def without_paths(value: Any) -> Any:
    """The same, with the last part alone of every string that is a path from a machine's root."""
    if isinstance(value, Mapping):
        return {without_paths(key): without_paths(each) for key, each in value.items()}
    if isinstance(value, str):
        found = next(
            (path for path in (PurePosixPath(value), PureWindowsPath(value)) if path.is_absolute()), None
        )
        return value if found is None else found.name
    if isinstance(value, Sequence):
        return [without_paths(each) for each in value]
    return value


def palettes(folder: Path) -> list[Path]:
    """Every PNG below a folder whose colours are of a palette."""
    # A PNG is 8 bytes of signature, then its header: length, name, width, height, depth, colour type.
    return [path for path in sorted(folder.rglob("*.png")) if path.read_bytes()[25] == PALETTE]


def _shrink(source: Path, target: Path) -> None:
    image = Image.open(source).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    image.save(target, optimize=True, dpi=(140, 140))


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish a run, or check what was published."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder, or with --check the folder to look at")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true", help="only look for pictures with a palette")
    given = parser.parse_args(arguments)
    if given.check:
        if found := palettes(given.run):
            sys.exit("pictures with a palette: " + ", ".join(map(str, found)))
    elif given.out is None:
        parser.error("out: where to publish to")
    else:
        publish(given.run, given.out)


if __name__ == "__main__":
    main()
