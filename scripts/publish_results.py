"""Copy what the documentation shows of a finished run: small figures, Markdown and CSV tables, configuration, manifest.

    python scripts/publish_results.py runs/big docs/results/smollm2-135m-1000

Figures are scaled to 6.9 in at 140 dpi, the width at which they are shown, with a palette; the run folder keeps the
full ones. An earlier copy there is replaced.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image

WIDTH = 966
COLOURS = 64
LARGEST = 200_000
"""Bytes of a table; the run folder has the larger ones."""


def publish(run: Path, out: Path) -> None:
    """Copy the run's report to ``out``."""
    if out.exists():
        shutil.rmtree(out)
    for part in ("figures", "tables"):
        (out / part).mkdir(parents=True)
    for path in sorted((run / "figures").glob("*.png")):
        _shrink(path, out / "figures" / path.name)
    shutil.copy(run / "figures" / "captions.md", out / "figures")
    for path in sorted((run / "tables").iterdir()):
        if path.suffix in {".md", ".csv"} and path.stat().st_size <= LARGEST:
            shutil.copy(path, out / "tables")
    for name in ("config.yaml", "manifest.json"):
        shutil.copy(run / name, out)


def _shrink(source: Path, target: Path) -> None:
    image = Image.open(source).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    palette = image.quantize(COLOURS, dither=Image.Dither.NONE)
    palette.save(target, optimize=True, dpi=(140, 140))


def main() -> None:
    """Read the two paths and publish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    publish(arguments.run, arguments.out)


if __name__ == "__main__":
    main()
