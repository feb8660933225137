"""A table of text, as Markdown or LaTeX; data is escaped, so that no label can break either."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from plateau_lens.report.visible import visible

UNDEFINED = "\N{EN DASH}"
NOT_REACHED = "∞"


@dataclass(frozen=True)
class Table:
    """Cells as they are shown. The first column names the row, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    unit: str = ""
    """One line under the title: what a number is counted in."""


def number(value: float, digits: int) -> str:
    """A fixed number of digits; an en dash where undefined, ∞ where not reached."""
    if math.isinf(value):
        return NOT_REACHED
    return UNDEFINED if math.isnan(value) else f"{value:.{digits}f}"


def interval(value: float, low: float, high: float, digits: int) -> str:
    """``value [low, high]``; the value alone where it has no interval."""
    shown = number(value, digits)
    return shown if math.isnan(low) else f"{shown} [{number(low, digits)}, {number(high, digits)}]"


def signed(value: float, low: float, high: float, digits: int) -> str:
    """A difference and its interval, each with its sign."""
    if math.isnan(value):
        return UNDEFINED
    shown = f"{value:+.{digits}f}"
    return shown if math.isnan(low) else f"{shown} [{low:+.{digits}f}, {high:+.{digits}f}]"


def p_value(value: float) -> str:
    """Three digits; ``< 0.001`` below that, as no test is as exact as to say how far."""
    return "< 0.001" if value < 0.001 else number(value, 3)


def share_interval(value: float, low: float, high: float) -> str:
    """A share 0..1 and its interval as percentages."""
    if math.isnan(low):
        return share(value)
    return f"{share(value)} [{100 * low:.3g}, {100 * high:.3g}]"


def share(value: float) -> str:
    """A share 0..1 as a percentage; an en dash where undefined."""
    return UNDEFINED if math.isnan(value) else f"{100 * value:.3g} %"


def count(value: float) -> str:
    """A number of pairs that was planned, not counted: two digits, rounded up, e.g. ``3,400``."""
    if not math.isfinite(value):
        return number(value, 0)
    step = 10 ** max(0, math.floor(math.log10(max(value, 1))) - 1)
    return f"{math.ceil(value / step) * step:,}"


def spread(mean: float, sd: float, digits: int = 2) -> str:
    """``mean ± sd``; an en dash in place of what is undefined."""
    return UNDEFINED if math.isnan(mean) else f"{number(mean, digits)} ± {number(sd, digits)}"


def markdown(heading: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    """A Markdown document: heading, tables with their titles, notes."""
    parts = [f"# {_markdown_text(heading)}\n"]
    for table in tables:
        parts.append(f"## {_markdown_text(table.title)}\n")
        if table.unit:
            parts.append(f"{_markdown_text(table.unit)}\n")
        lines = [_markdown_row(table.columns), "|:--" + "|--:" * (len(table.columns) - 1) + "|"]
        lines += [_markdown_row(row) for row in table.rows]
        parts.append("\n".join(lines) + "\n")
    parts += [f"{_markdown_text(note)}\n" for note in notes]
    return "\n".join(parts)


def latex(tables: Sequence[Table]) -> str:
    """Booktabs ``tabular`` environments, to be read into a document."""
    return "\n\n".join(_tabular(table) for table in tables) + "\n"


def _tabular(table: Table) -> str:
    lines = [
        "% " + "; ".join(_one_line(text) for text in (table.title, table.unit) if text),
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        _latex_row(table.columns),
        r"\midrule",
        *(_latex_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_markdown_text(cell) for cell in cells) + " |"


def _markdown_text(text: str) -> str:
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_$|\[\]~])", r"\\\1", text)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_latex_text(cell) for cell in cells) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    UNDEFINED: "--",
    NOT_REACHED: r"$\infty$",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(mark, mark) for mark in _one_line(text))


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))
