"""The registry of report sections: what a report computes of a run, and how it is told.

A new section is a class with one method::

    from plateau_lens import Section, Table, section

    @section("censoring")
    class Censoring(Section):
        "The share of pairs of each kind whose event was not seen."
        title = "Who is censored"

        def tables(self):
            rows = [
                (sample.kind, self.data.called(group), f"{sample.censored.mean():.3f}")
                for group, samples in self.data.samples.items()
                for sample in samples
            ]
            return [Table(self.title, ("kind", "statistic", "share"), tuple(rows))]

The report builds every section of a run, writes its files, and puts its blocks on the page; it knows none by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from markupsafe import Markup

from plateau_lens._registry import Member, Registry
from plateau_lens.glossary import PAPER
from plateau_lens.report import render
from plateau_lens.report.render import Table
from plateau_lens.report.run_data import PAPER_ORDER, RunData

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

MOST_KINDS = 8
"""Kinds whose lines can be told apart; a figure of all kinds shows the paper's where there are more."""


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its files, and what to print under it."""

    name: str
    title: str
    caption: str
    figure: Figure
    paper: str = ""
    """The figure of the paper that it is of this run, e.g. ``Figure B.1``; empty if the paper has none like it."""

    @property
    def legend(self) -> str:
        """What is printed under it: its place in the paper, and its caption."""
        whose = f"{self.paper} of {PAPER}, of this run" if self.paper else "Not a figure of the paper"
        return f"{whose}. {self.caption}"


@dataclass(frozen=True)
class Skipped:
    """A figure or section that this run cannot have, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Prose:
    """A paragraph on the page."""

    text: str
    quiet: bool = False
    """Whether it is a note, set back."""


@dataclass(frozen=True)
class Fold:
    """Blocks of the page under a line that opens them."""

    title: str
    blocks: Sequence[Block]
    is_open: bool = False


@dataclass(frozen=True)
class Pairs:
    """Names and values, a row each."""

    rows: Sequence[tuple[str, str]]
    style: str = ""
    """A class of the page's style sheet."""


@dataclass(frozen=True)
class Code:
    """Text as it stands."""

    text: str


@dataclass(frozen=True)
class Listing:
    """A list of sentences, a name before each if it has one."""

    items: Sequence[tuple[str, str]]


Block = Prose | Table | Drawing | Fold | Pairs | Code | Listing | Markup
"""What a section puts on the page. All text is escaped there but `Markup`, which is safe HTML of a section's own."""


class Section(Member):
    """One section of a report, computed of a run when it is made.

    Raises:
        RunFolderError: when it is made, if the run cannot have it, with the reason.
    """

    title: ClassVar[str] = ""
    """Its heading, and what leads to it; the name with a capital unless given."""

    def __init__(self, data: RunData):
        self.data = data

    def tables(self) -> Sequence[Table]:
        """What it tells as tables: ``tables/NAME.md``, ``tables/NAME.tex``, and the page."""
        return ()

    def notes(self) -> Sequence[str]:
        """How to read its tables."""
        return ()

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """Its numbers at full precision: name to what ``tables/NAME.csv`` holds."""
        return {}

    def documents(self) -> Mapping[str, str]:
        """Further files under ``tables/``, name to content; its `tables`, unless it says otherwise."""
        tables = self.tables()
        if not tables:
            return {}
        return {
            f"{self.name}.md": render.markdown(self.heading, tables, self.notes()),
            f"{self.name}.tex": render.latex(tables),
        }

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """Its figures, drawn as they are asked for: ``figures/NAME.png`` and ``.pdf``, and the page."""
        yield from ()

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """What stands on the page under its heading: figures, tables, notes, unless it says otherwise.

        Args:
            drawings: its own, drawn.
        """
        yield from drawings
        yield from self.tables()
        for note in self.notes():
            yield Prose(note, quiet=True)

    def scripts(self) -> Sequence[str]:
        """Code of its own that its blocks run in the browser, each text whole; the page lets no other run."""
        return ()

    def appendix(self) -> Iterable[Block]:
        """What stands at the end of the page, under its heading once more."""
        return ()

    @property
    def heading(self) -> str:
        """`title`, or what stands for it."""
        return self.title or self.name.capitalize()


C = TypeVar("C", bound=type[Section])
SECTIONS: Registry[Section] = Registry("section", "plateau_lens.report.sections")


def section(name: str) -> Callable[[C], C]:
    """Register a `Section` subclass under ``name``."""
    return SECTIONS.add(name)


def legible(data: RunData) -> tuple[str, ...]:
    """The kinds of a figure that compares all: the paper's, where there are more than can be told apart."""
    if len(data.kinds) <= MOST_KINDS:
        return data.kinds
    if data.reference not in PAPER_ORDER:
        return data.kinds[:MOST_KINDS]
    return tuple(kind for kind in data.kinds if kind in PAPER_ORDER)


def left_out(shown: Sized, of: Sized) -> str:
    """What a caption says where a figure shows some of the kinds that were measured for it."""
    if len(shown) >= len(of):
        return ""
    return f" Shown are {len(shown)} of {len(of)} kinds; the tables have all."
