"""One pass at a time on a model: passes put hooks and stand-ins on it, which another thread must not meet."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager

from torch import nn

_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


@contextmanager
def exclusive(blocks: nn.ModuleList) -> Generator[None]:
    """Inside, no other thread's engine drives the model that these blocks are of, whichever engine it is.

    A thread that runs the model itself meanwhile is not kept out: what it gets is undefined.

    Args:
        blocks: of the model; wrappers of one model share them.
    """
    with _MAKING:
        lock = _LOCKS.setdefault(blocks, threading.RLock())
    with lock:
        yield
