"""Files that Arrow's threads still hold when their reader has what it wanted: the interpreter waits for them.

A Parquet file of the hub is a Python object, and Arrow reads it in threads of its own. A reader that stops early drops
it; the thread that still works on it lets go of it later, and takes Python's lock to do so. Once the interpreter has
begun to end, a thread that asks for that lock is ended itself, and the process aborts: "terminate called without an
active exception" (apache/arrow#45214, huggingface/datasets#7357).
"""

from __future__ import annotations

import atexit
import gc
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

PATIENCE = 10.0
"""Seconds that the end of the process waits at most: one request to the hub that is under way."""


@contextmanager
def let_go_before_the_end() -> Generator[None]:
    """Have the interpreter's end wait for remote files that were opened meanwhile and that a thread still holds."""
    before = {id(file) for file in _open_files()}
    try:
        yield
    finally:
        held = [weakref.ref(file) for file in _open_files() if id(file) not in before]
        if held:
            atexit.register(_wait_for, held)


def _open_files() -> Iterator[Any]:
    from fsspec.spec import AbstractBufferedFile

    # By type: to ask every object there is for its class would wake those that stand in for another.
    return (each for each in gc.get_objects() if issubclass(type(each), AbstractBufferedFile))


def _wait_for(files: Sequence[weakref.ref[Any]]) -> None:
    until = time.monotonic() + PATIENCE
    while any(file() is not None for file in files) and time.monotonic() < until:
        gc.collect()  # `datasets` gives a file a `read` that refers to it: nobody's, it is still there
        time.sleep(0.005)
