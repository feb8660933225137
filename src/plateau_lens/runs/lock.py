"""One at a time: a run folder that somebody writes is nobody else's to write."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from plateau_lens._errors import RunFolderError

LOCK = ".lock"
"""An empty file; it stays with a run, since to remove a lock's file is to let two have it."""
OWNER = ".owner.json"


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold a folder's lock, or say at once who does.

    It is the operating system's, which gives it back when its owner ends, however that ends. Within one process it can
    be taken again.

    Raises:
        RunFolderError: naming the owner.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFolderError(
            f"{folder} is being written by {_owner(folder)}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"cannot lock {folder}: {error.strerror or error}; choose another --out"
        ) from None
    try:
        with suppress(OSError):
            owner = {
                "process": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            (folder / OWNER).write_text(json.dumps(owner))
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):
                (folder / OWNER).unlink()
            with suppress(OSError):
                # Nothing was begun here. Whoever waits for this very file sees that it is gone, and makes another.
                if [entry.name for entry in folder.iterdir()] == [LOCK]:
                    (folder / LOCK).unlink()
        lock.release()


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text())
        return f"process {owner['process']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
