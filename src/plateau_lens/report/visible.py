"""Text in which nothing is hidden: marks that are not seen, or turn others around, are written out."""

from __future__ import annotations

import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: control, format (U+202E, which turns the order around), surrogate, line and paragraph."""
_KEPT = "\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Of these: what lays out text, and what words of many languages are spelt with."""


def visible(text: str) -> str:
    """The text with every mark that would not be seen as its escape: NUL as backslash, x, 00.

    Prompts are of any origin. A terminal acts on ESC, a browser on U+202E, and XML has no NUL.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(mark) if _is_hidden(mark) else mark for mark in text)


def _is_hidden(mark: str) -> bool:
    return unicodedata.category(mark) in _HIDDEN and mark not in _KEPT


def _escaped(mark: str) -> str:
    code = ord(mark)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
