"""One at a time: a run folder that somebody writes is nobody else's to write."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plateau_lens._errors import RunFolderError

LOCK = ".lock"
"""An empty file; it stays with a run, since to remove a lock's file is to let two have it."""
OWNER = ".owner.json"
"""Who writes, and when it was last known to: the file's time of change."""
BEAT, STALE = 20.0, 120.0
"""Seconds between two signs of life, and without one until a process of another machine is taken for dead."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold a folder's lock, or say at once who does.

    It is the operating system's, which gives it back when its owner ends, however that ends. Within one process it can
    be taken again. Some network file systems keep locks to each machine (mounted with ``nolock`` or ``localflock``):
    there an owner on another machine is told by its signs of life.

    Raises:
        RunFolderError: naming the owner.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFolderError(
            f"{folder} is being written by {_named(_owner(folder))}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"cannot lock {folder}: {error.strerror or error}; choose another --out"
        ) from None
    try:
        if lock.lock_counter > 1:
            yield
        else:
            with _owned(folder):
                yield
    finally:
        lock.release()


@contextmanager
def _owned(folder: Path) -> Generator[None]:
    """Say who writes, from time to time, until it is done."""
    owner = _owner(folder)
    silent = _silence(folder)
    if owner.get("host") not in (None, socket.gethostname()) and silent is not None and silent < STALE:
        raise RunFolderError(
            f"{folder} was being written by {_named(owner)}, which gave its last sign of life {silent:.0f} s ago; wait "
            f"for it, or choose another --out. If it was killed, the same command goes on in {STALE - silent:.0f} s"
        )
    done = threading.Event()
    thread = threading.Thread(target=_beat, args=(folder / OWNER, done), daemon=True)
    with suppress(OSError):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"process": os.getpid(), "host": socket.gethostname(), "since": now}
        (folder / OWNER).write_text(json.dumps(entry))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            (folder / OWNER).unlink()
        with suppress(OSError):
            # Nothing was begun here. Whoever waits for this very file sees that it is gone, and makes another.
            if [entry.name for entry in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()


def _beat(owner: Path, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with suppress(OSError):
            os.utime(owner)


def _silence(folder: Path) -> float | None:
    """Seconds since the owner's last sign of life, both by the clock of the file system; None without an owner."""
    try:
        os.utime(folder / LOCK)
        return (folder / LOCK).stat().st_mtime - (folder / OWNER).stat().st_mtime
    except OSError:
        return None


def _owner(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / OWNER).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(owner: dict[str, Any]) -> str:
    if {"process", "host", "since"} <= owner.keys():
        return f"process {owner['process']} on {owner['host']} since {owner['since']}"
    return "another process"
