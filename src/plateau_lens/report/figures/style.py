"""How figures look: one colour, line and marker a kind, everywhere; sizes; text fit to be drawn."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_WIDTH = 6.9
"""Inches: the text width of a two-column paper."""
COLUMN_WIDTH = 3.4
"""Inches: one of its columns."""
LEAST_TEXT = 7
"""Points: no text of a figure is smaller at that width."""
DPI = 250
_INK = "#222222"

Dash = tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class KindStyle:
    """A kind's colour, and what tells it apart without colour."""

    colour: str
    dash: Dash
    marker: str


_SOLID: Dash = (0, ())
# Apart for normal, red-, green- and blue-blind readers alike, most of all random and structured.
_PAPER = {
    "model-generated": KindStyle("#F15A09", _SOLID, "o"),
    "random": KindStyle("#0A30A9", (0, (5, 1.6)), "s"),
    "synthetic-random": KindStyle("#2BC0EA", (0, (2.5, 1.0)), ">"),
    "synthetic-baseline": KindStyle("#954997", (0, (1, 1.1)), "^"),
    "structured-without-cosine": KindStyle("#B4BE5A", (0, (7, 1.2, 2.5, 1.2)), "d"),
    "synthetic-structured": KindStyle("#058257", (0, (6, 1.4, 1, 1.4)), "D"),
    "sae-reconstruction": KindStyle("#1A1A1A", (0, (3, 1.2, 1, 1.2, 1, 1.2)), "v"),
}
_COLOURS = ("#CC6677", "#44AA99", "#882255", "#E78AC3", "#7A5230")
_DASHES: tuple[Dash, ...] = ((0, (8, 2)), (0, (2, 1)), _SOLID, (0, (4, 1, 1, 1)))
_MARKERS = ("P", "X", "*", "<", "h", "p", "8")


def kind_styles(kinds: Sequence[str]) -> dict[str, KindStyle]:
    """A style for every label: the paper's own kinds always look the same, others take the next one free.

    Colours, dashes and markers cycle with lengths that share no factor, so the first 140 labels differ.
    """
    others = [kind for kind in kinds if kind not in _PAPER]
    further = {
        kind: KindStyle(_COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)], _MARKERS[i % len(_MARKERS)])
        for i, kind in enumerate(others)
    }
    return {kind: _PAPER.get(kind) or further[kind] for kind in kinds}


def paper_style() -> AbstractContextManager[None]:
    """Matplotlib settings of every figure, in force inside ``with`` alone and whatever the user's own are."""
    import matplotlib.style

    settings: dict[str, Any] = {
        "font.family": "DejaVu Sans",  # shipped with matplotlib: the same figure on every machine
        "font.size": 7.5,
        "axes.titlesize": 7.5,
        "axes.labelsize": 7.5,
        "xtick.labelsize": LEAST_TEXT,
        "ytick.labelsize": LEAST_TEXT,
        "legend.fontsize": LEAST_TEXT,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "legend.columnspacing": 1.4,
        "axes.linewidth": 0.6,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "text.color": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.6,
        "ytick.major.size": 2.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": "#E4E4E4",
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.4,
        "pdf.fonttype": 42,  # TrueType: text stays text, and journals accept it
        "svg.hashsalt": "plateau-lens",
        "figure.constrained_layout.h_pad": 0.03,
        "figure.constrained_layout.w_pad": 0.03,
    }
    return matplotlib.style.context(["default", settings])


def save(figure: Figure, path: Path | BinaryIO, form: str) -> None:
    """Write a figure as ``png``, ``pdf`` or ``svg`` with no date in it: the same run gives the same bytes."""
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
    with paper_style():
        figure.savefig(path, format=form, dpi=DPI, metadata=metadata, facecolor="white")
        # The layout is the costly part, and what it came to holds for every form.
        figure.set_layout_engine(None)


def drawable(text: str, limit: int = 32) -> str:
    """Text from data, fit to be drawn: one line, no mathtext, no character the font lacks, ``limit`` long."""
    shown = _one_line(text)
    if len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    # Matplotlib leaves labels that begin with an underscore out of a legend.
    return _literal(f" {shown}" if shown.startswith("_") else shown)


def drawable_end(text: str, width: float) -> str:
    """As ``drawable``, but as much of the text's end as fits ``width`` inches; call it within the style."""
    shown = _one_line(text)
    while len(shown) > 1 and (drawn := _width(_literal(shown))) > width:
        kept = min(len(shown) - 2, int(len(shown) * width / drawn))
        shown = "…" + shown[len(shown) - kept :]
    return _literal(shown)


def legend_columns(labels: Sequence[str], width: float = PAGE_WIDTH) -> int:
    """As many columns, up to 4, as fit ``width`` inches above a figure; call it within ``paper_style``."""
    import matplotlib

    # Handle, the gap behind it and the gap between columns, in font sizes.
    extra = float(matplotlib.rcParams["legend.fontsize"]) * (2.4 + 0.8 + 1.4) / 72
    entry = _width(max(labels, key=len)) + extra
    return max(1, min(len(labels), 4, int(width // entry)))


def legend_height(labels: Sequence[str], width: float = PAGE_WIDTH) -> float:
    """Inches that the legend takes above a figure."""
    return 0.16 * math.ceil(len(labels) / legend_columns(labels, width))


def _width(text: str) -> float:
    """Inches, at the size of a legend."""
    import matplotlib
    from matplotlib.textpath import TextPath

    size = float(matplotlib.rcParams["legend.fontsize"])
    return TextPath((0, 0), text, size=size).get_extents().width / 72


def _one_line(text: str) -> str:
    shown = " ".join(text.replace("\r", "").replace("\n", "↵").split())
    # Marks that are not to be seen, a byte-order mark or a change of direction: some backends fail on them.
    shown = "".join(mark for mark in shown if unicodedata.category(mark) not in ("Cc", "Cf", "Cs"))
    return "".join(mark if ord(mark) in _font_characters() else "\N{REPLACEMENT CHARACTER}" for mark in shown)


def _literal(text: str) -> str:
    return text.replace("$", r"\$")


@cache
def _font_characters() -> frozenset[int]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())
