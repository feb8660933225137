"""How much is computed at once: as much as free memory allows, and half of it wherever that was too much."""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from plateau_lens._errors import ResourceError

T = TypeVar("T")

MOST_ROWS = {"cpu": 1024, "cuda": 16384}
"""Points or tokens a pass: on a CPU more would leave the caches, elsewhere more is not faster."""
_SHARE = 0.25
"""Of the free memory that one pass may take."""


def rows_a_pass(device: torch.device, bytes_a_row: int) -> int:
    """Rows of a forward pass, from the free memory of ``device``; 1 at least."""
    most = MOST_ROWS.get(device.type, 4096)
    return max(1, min(most, int(_SHARE * free_bytes(device)) // bytes_a_row))


def free_bytes(device: torch.device) -> int:
    """Free memory of the device, bytes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch keeps for itself without using it is free as well.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    import psutil

    return int(psutil.virtual_memory().available)


def give_back() -> None:
    """Give freed memory back to the system, where the C library keeps it for itself (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Numbers of glibc's `mallopt`."""
_MMAP_FROM, _TRIM_FROM = 2**25, 2**28
"""Bytes: larger pieces come from the system each by itself, and more than that is given back at once."""


@functools.cache
def keep() -> None:
    """Let freed memory stay with the process where the C library gave it back after each use (glibc).

    A pass makes and frees hundreds of tensors of some megabytes. Got from the system every time, their pages took 5 %
    of the time. `give_back` still gives them back. It holds for the whole process, for good.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if option is not None:
        option(_MMAP_THRESHOLD, _MMAP_FROM)
        option(_TRIM_THRESHOLD, _TRIM_FROM)


def in_pieces(n: int, size: int, work: Callable[[slice], T]) -> Iterator[T]:
    """Do ``work`` for ``n`` things, ``size`` at a time; out of memory, the piece is halved and tried again.

    Raises:
        ResourceError: if there is not memory enough for one thing.
    """
    start = 0
    while start < n:
        piece = slice(start, min(n, start + size))
        done, reason = _tried(work, piece)
        if done:
            start = piece.stop
            yield from done
            continue
        # Only out here is the failed pass's memory free: as long as its error lived, so did its frames.
        size = (piece.stop - piece.start) // 2
        if not size:
            raise ResourceError(
                f"there is not memory enough for a single prompt, one step at a time ({reason}); use a "
                "smaller prompts.n_ctx, or a device with more memory"
            )
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()


def _tried(work: Callable[[slice], T], piece: slice) -> tuple[list[T], str]:
    """What the work gives, or nothing and why memory ran out."""
    try:
        return [work(piece)], ""
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return [], (str(error).splitlines() or [type(error).__name__])[0]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return "can't allocate memory" in text or "out of memory" in text or "not enough memory" in text
