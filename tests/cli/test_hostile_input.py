"""What nobody should give the command line: some of the cases that `scripts/hostile_input.py` tries by thousands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from hostile_input import SORTS, Case, Ended, Field, try_sort

CASES = {
    "configurations": 10,
    "--set and options": 40,
    "text that is to be YAML": 50,
    "prompt files": 20,
    "SAE folders": 8,
    "model folders": 6,
    "damaged run folders": 15,
    "edited run folders": 15,
}
"""Of each sort; those that end in a run take a tenth of a second and more."""


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with Field(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.mark.parametrize("name", SORTS)
def test_each_works_or_ends_in_one_message(field: Field, name: str) -> None:
    wrong: list[tuple[Case, list[str]]] = []
    tried: list[Ended] = []

    def tell(case: Case, found: Ended) -> None:
        tried.append(found)
        if found.wrong:
            wrong.append((case, found.wrong))

    try_sort(field, name, CASES[name], start=3, tell=tell)
    assert wrong == []
    assert tried


def test_what_is_wrong_is_seen(field: Field) -> None:
    """A test that cannot fail is none: a traceback, a touched file, and one left behind."""

    def spoil(folder: Path) -> None:
        (folder / "left.tmp").write_text("before the command: not its fault")

    good = field.try_out(Case(["check", "run"], copied=("run",), edit=spoil))
    assert (good.status, good.wrong) == (0, [])

    import plateau_lens.cli.check as command

    def behaving_badly(*_: object) -> None:
        Path("notes.txt").write_text("gone")
        Path("left.tmp").write_text("")
        raise RuntimeError("a defect")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(command, "check_command", behaving_badly)
        bad = field.try_out(Case(["check", "run"], copied=("run",)))
    assert [line.partition(":")[0] for line in bad.wrong] == [
        "status 3",
        "notes.txt, the user's own, was touched",
        "left behind",
    ]
