"""What is written of text in which something is hidden."""

import sys
import unicodedata

import pytest

from plateau_lens.report import render
from plateau_lens.report.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Grüße, 你好\n\tیک 👩\u200d🔬", "Grüße, 你好\n\tیک 👩\u200d🔬"),
        ("a\x00b", r"a\x00b"),
        ("\x1b[31mred\x7f\x85", r"\x1b[31mred\x7f\x85"),
        ("\u202ecba\u2066\ufeff", r"\u202ecba\u2066\ufeff"),
        ("\u2028\U000e0041\ud800", r"\u2028\U000e0041\ud800"),
    ],
)
def test_what_is_hidden_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_nothing_that_acts_on_a_page_or_a_terminal_is_left_in_any_text() -> None:
    every = visible("".join(map(chr, range(sys.maxunicode + 1))))
    left = {mark for mark in every if unicodedata.category(mark) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert left == set("\n\t\u200c\u200d")
    assert visible(every) == every


def test_tables_write_them_out() -> None:
    table = render.Table("t\x00", ("kind", "n"), (("a\u202eb", "1\x1b"),))
    for text in (render.markdown("h\x1b", [table], ["n\u202e"]), render.latex([table])):
        assert not any(mark in text for mark in "\x00\x1b\u202e")
    assert r"a\textbackslash{}u202eb" in render.latex([table])
