"""What is printed where the command was typed: text as it stands, which no label or path can turn into markup."""

from __future__ import annotations

from rich.console import Console


def terminal(*, stderr: bool = False, soft_wrap: bool = True) -> Console:
    """A console that takes text for text: no markup, no highlighting, no emoji by name.

    Args:
        stderr: print there.
        soft_wrap: leave the breaking of long lines to the terminal, so that paths can be copied.
    """
    return Console(stderr=stderr, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False)
