"""The command line: one file a command, each imported when it is called."""

from __future__ import annotations

import signal
import sys
import threading
from typing import NoReturn

INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM, as shells have it."""
_RESUME = "plateau-lens: interrupted; run the same command again to go on"


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the user's mistake, 2 usage, 3 a defect of ours."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    from plateau_lens._errors import PlateauLensError
    from plateau_lens.cli.app import app

    if threading.current_thread() is threading.main_thread():
        signal.signal(
            signal.SIGTERM, signal.default_int_handler
        )  # stopped like Ctrl-C: what is whole is kept
    try:
        app(arguments, prog_name="plateau-lens")
    except SystemExit as finished:
        if finished.code == INTERRUPTED:  # what the command line's own library makes of Ctrl-C
            _say(_RESUME)
        return finished.code if isinstance(finished.code, int) else 0
    except PlateauLensError as error:
        _say(f"plateau-lens: {error}")
        return 1
    except KeyboardInterrupt:
        _say(_RESUME)
        return INTERRUPTED
    except Exception:
        import traceback

        _say(traceback.format_exc())
        _say(
            "plateau-lens: this is a defect of plateau-lens. Please report it, with the lines above, as an issue."
        )
        return 3
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
