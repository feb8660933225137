"""What the machine refuses is its own fault: exit status 1, what it was and what to do, and nothing is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from plateau_lens import RunFolder
from plateau_lens.cli import invoke
from plateau_lens.runs.folder import whole_file

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
from finished_runs import write_finished

COMMAND = [sys.executable, "-c", "from plateau_lens.cli import main; main()"]


@pytest.fixture
def finished(tmp_path: Path) -> RunFolder:
    return write_finished(tmp_path / "run")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device; free some space, and run the same command again"),
        (errno.EROFS, "Read-only file system; choose a place that you may write to"),
        (errno.EIO, "Input/output error; see to that, and run the same command again"),
    ],
)
def test_a_disk_that_refuses(
    finished: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    said: str,
) -> None:
    before = finished.steps()

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("plateau_lens.runs.folder.os.fsync", refuse)
        assert invoke(["measure", str(finished.path)]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert "manifest.json" in err, "the file that could not be written is named"
    assert "Traceback" not in err
    assert RunFolder.open(finished.path).steps().equals(before)
    assert not list(finished.path.rglob("*.tmp"))


def test_a_library_that_tells_what_the_system_refused_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "a.parquet"):
        raise pl.exceptions.ComputeError("write failed: No space left on device (os error 28)")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "a.parquet")
    # As polars says it where it cannot open a file: an OSError, and without a number.
    with pytest.raises(OSError, match="Input/output") as caught, whole_file(tmp_path / "a.parquet"):
        raise OSError("Input/output error (os error 5): /elsewhere")
    assert caught.value.errno == errno.EIO
    with pytest.raises(pl.exceptions.ComputeError), whole_file(tmp_path / "a.parquet"):
        raise pl.exceptions.ComputeError("a defect of ours")


def test_activations_are_written_into_the_temporary_file_that_was_made(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that puts a file of its own in its place leaves that one behind, under any name, when it is killed."""
    made: list[int] = []
    synced: list[int] = []
    make = tempfile.mkstemp

    def making(**options: Any) -> tuple[int, str]:
        handle, name = make(**options)
        made.append(os.fstat(handle).st_ino)
        return handle, name

    monkeypatch.setattr("plateau_lens.runs.folder.tempfile.mkstemp", making)
    monkeypatch.setattr(
        "plateau_lens.runs.folder.os.fsync", lambda handle: synced.append(os.fstat(handle).st_ino)
    )
    finished.write_shard(1, {"pair": np.arange(6)})
    assert synced == made


def test_memory_that_does_not_suffice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: str) -> str:
        raise MemoryError

    monkeypatch.setattr("plateau_lens.presets.describe", refuse)
    assert invoke(["presets"]) == 1
    assert "out of memory; use fewer --workers" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "presets"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_terminal_that_knows_ascii_alone(finished: RunFolder) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*COMMAND, "claims", str(finished.path)], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"format": "two"}',
        '{"format": 2, "shards": ["a"]}',
        '{"format": 2, "shards": {"../../elsewhere": "0"}}',
        '{"format": 2, "report": {"/etc/passwd": "0"}}',
        '{"format": 2, "files": 3}',
        '{"format": 2, "request": []}',
        '{"format": 2, "seconds": "long"}',
        '{"format": 2, "population": 7}',
        '{"format": 2, "finished": 7}',
        "[" * 100_000,
        "\0",
        '{"format": 2, "name": "\\ud800"}',
    ],
    ids=lambda text: text[:30],
)
@pytest.mark.parametrize("command", ["report", "claims", "check", "run", "measure"])
def test_a_manifest_of_another_shape(
    finished: RunFolder, capsys: pytest.CaptureFixture[str], content: str, command: str
) -> None:
    (finished.path / "manifest.json").write_text(content)
    assert invoke([command, str(finished.path)]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("plateau-lens: ")


def test_a_journal_of_another_shape(finished: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("[]", '{"shards": 3}', "nonsense"):
        (finished.path / "manifest.jsonl").write_text(line + "\n")
        assert invoke(["report", str(finished.path)]) == 1
        assert "manifest.jsonl cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.yaml", "prompts.parquet", "steps.parquet"])
def test_a_file_that_is_gone_or_may_not_be_read(
    finished: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = Path.open

    def forbidden(self: Path, *args: object, **options: object) -> object:
        if self.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return real(self, *args, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]

    os.utime(finished.path / name, ns=(1, 1))  # so that its digest is not remembered
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", forbidden)
        assert invoke(["report", str(finished.path)]) == 1
    said = capsys.readouterr().err
    assert name in said
    assert "lost: " in said
    assert f"`plateau-lens run {finished.path}` makes it again" in said
    (finished.path / name).unlink()
    assert invoke(["report", str(finished.path)]) == 1
    assert name in capsys.readouterr().err


def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    for device in ("cuda:99", "no-such-device", "mps:3"):
        assert invoke(["bench", "--quick", "--device", device]) == 1
        assert f"device '{device}' cannot be used here" in capsys.readouterr().err


def test_no_label_or_path_is_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_finished(tmp_path / "o[" / "bold]")
    assert invoke(["report", str(folder.path)]) == 0
    assert "o[/bold]/report.html" in capsys.readouterr().out.replace("\n", "")


def test_an_error_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", "a\x1b[31mb\x9bc"]) == 1
    assert "a\\x1b[31mb\\x9bc is not a folder" in capsys.readouterr().err
