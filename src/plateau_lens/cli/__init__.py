"""The command line: one file a command, each imported when it is called."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM, as shells have it."""
_RESUME = "plateau-lens: interrupted; run the same command again to go on"
_REMEDIES = {
    errno.ENOSPC: "free some space, and run the same command again: what was whole is kept",
    errno.EDQUOT: "free some space, and run the same command again: what was whole is kept",
    errno.EROFS: "choose a place that you may write to",
    errno.EACCES: "choose a place that you may read and write",
    errno.EPERM: "choose a place that you may read and write",
    errno.ENOENT: "it is not there, or was moved or removed meanwhile; put it back, and run the same command again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other files, or raise the limit of open ones (ulimit -n)",
}
"""What to do where the machine says no."""


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the user's mistake or the machine's, 2 usage, 3 a defect of ours."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    status = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk that was written to, or a pipe that nobody reads any more
        if error.errno != errno.EPIPE:
            _say(f"plateau-lens: the output could not be written: {error.strerror}")
        # What the interpreter would try again when it ends goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or 1
    sys.exit(status)


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
    except PlateauLensError as error:
        _say(f"plateau-lens: {error}")
        return 1
    except KeyboardInterrupt:
        _say(_RESUME)
        return INTERRUPTED
    except (Exception, SystemExit) as error:
        return _status_of(error)
    return 0


def _status_of(error: Exception | SystemExit) -> int:
    """Say what went wrong, and whose fault it is."""
    from plateau_lens.runs.plugins import blame

    if plugins_fault := blame(error):
        _say(f"plateau-lens: {plugins_fault}")
        return 1
    if isinstance(error, SystemExit):  # how the command line's own library ends
        if error.code == INTERRUPTED:
            _say(_RESUME)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, OSError) and error.errno is not None:
        what = f"{error.filename}: " if error.filename is not None else ""
        remedy = _REMEDIES.get(error.errno, "see to that, and run the same command again")
        _say(f"plateau-lens: {what}{error.strerror or os.strerror(error.errno)}; {remedy}")
        return 1
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        _say(
            "plateau-lens: out of memory; use fewer --workers, a smaller prompts.population or unit_size, or a device "
            "with more memory, and run the same command again: what was whole is kept"
        )
        return 1
    import traceback

    _say("".join(traceback.format_exception(error)))
    _say(
        "plateau-lens: this is a defect of plateau-lens. Please report it, with the lines above, as an issue."
    )
    return 3


def _say(text: str) -> None:
    """On stderr, with no mark in it that commands a terminal."""
    shown = "".join(each if each == "\n" or each.isprintable() else ascii(each)[1:-1] for each in text)
    with suppress(OSError):  # where nobody hears it, the exit status says it
        sys.stderr.write(shown + "\n")
