"""A process does not end while a thread that Python knows nothing of holds a file of the hub's."""

import subprocess
import sys

import pytest

PROGRAM = """
import _thread, os, sys, time
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile
from plateau_lens.prompts.let_go import let_go_before_the_end

def hold(file):
    time.sleep(0.3)
    os.write(1, b"let go")

def read():
    with {manager}:
        file = AbstractBufferedFile(LocalFileSystem(), "x", "rb", size=1)
        # As one of Arrow's: not waited for when the interpreter ends.
        _thread.start_new_thread(hold, (file,))

mine = AbstractBufferedFile(LocalFileSystem(), "y", "rb", size=1)  # the user's own is never waited for
since = time.monotonic()
read()
assert time.monotonic() - since < 0.3, "the run itself goes on at once"
"""


@pytest.mark.parametrize(
    ("manager", "said"), [("let_go_before_the_end()", "let go"), ("open(os.devnull)", "")]
)
def test_the_end_waits_for_a_file_that_a_thread_holds(manager: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(manager=manager)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == said
