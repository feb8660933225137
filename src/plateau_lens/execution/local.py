"""Executors on this machine: in this process, or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any

from plateau_lens._errors import ConfigError, PlateauLensError, ResourceError
from plateau_lens.execution.plan import Unit
from plateau_lens.execution.prepare import Prepared, Resources, load_resources
from plateau_lens.execution.worker import Shard, Worker
from plateau_lens.runs.plugins import blame


def in_process(prepared: Prepared, resources: Resources, units: Sequence[Unit]) -> Generator[Shard]:
    """Compute units one after another, here."""
    worker = Worker(prepared, resources)
    for unit in units:
        yield worker.compute(unit)


def in_processes(prepared: Prepared, units: Sequence[Unit], *, workers: int) -> Generator[Shard]:
    """Compute units in ``workers`` processes, each with its own model and its share of the threads.

    Shards come as they are finished. At most two units a worker are in flight, so memory does not grow with
    the number of pairs. Workers end with this process, however it ends.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    waiting = iter(units)
    context = multiprocessing.get_context("spawn")
    # Workers hold the other end of a pipe: it closes when this end does, be it that this process was killed.
    theirs, lifeline = context.Pipe(duplex=False)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(prepared, threads, theirs)
    ) as pool:
        running: set[Future[Shard]] = set()
        try:
            while True:
                while len(running) < 2 * workers and (unit := next(waiting, None)) is not None:
                    with _deaf_to_interrupts():
                        running.add(pool.submit(_compute, unit))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    try:
                        shard = future.result()
                    except BrokenProcessPool as error:
                        raise ResourceError(
                            f"a worker process died, most likely for want of memory: each of the {workers} holds the "
                            "model; use fewer --workers and run again, finished shards are kept. (In a script of your "
                            "own, start runs under `if __name__ == '__main__':`.)"
                        ) from error
                    yield shard
        finally:
            for future in running:
                future.cancel()
            lifeline.close()  # what is still being computed is not waited for


@contextmanager
def _deaf_to_interrupts() -> Generator[None]:
    """Start processes that never hear Ctrl-C: on a terminal it reaches every process, and the first one answers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: Worker | None = None
"""This process's worker, in a pool."""


def _start(prepared: Prepared, threads: int, lifeline: Any) -> None:
    import torch

    global _worker
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(threads)
    _worker = Worker(prepared, load_resources(prepared.config))


def _end_with(lifeline: Any) -> None:
    """End this process, whatever it is at, when the other end of the pipe is closed."""
    with suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)


def _compute(unit: Unit) -> Shard:
    assert _worker is not None
    try:
        return _worker.compute(unit)
    except PlateauLensError:
        raise
    except (Exception, SystemExit) as error:
        # Which code was running is known here alone.
        if plugins_fault := blame(error):
            raise ConfigError(plugins_fault) from error
        raise
