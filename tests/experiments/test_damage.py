"""Nothing that is damaged, swapped, edited or half written is taken for what the run wrote."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from finished_runs import write_finished

from plateau_lens import RunFolder, RunFolderError
from plateau_lens.cli import invoke
from plateau_lens.execution.step_values import measure_again
from plateau_lens.runs.lock import STALE, locked


@pytest.fixture
def finished(tmp_path: Path) -> RunFolder:
    return write_finished(tmp_path / "run")


@pytest.fixture
def other(tmp_path: Path) -> RunFolder:
    """Another run: its blow-ups are elsewhere."""
    return write_finished(tmp_path / "other", shift=2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["config.yaml", "prompts.parquet", "steps.parquet", "curves/part-00000.parquet"]
)
@pytest.mark.parametrize("how", ["flipped", "swapped", "cut"])
def test_a_file_that_is_not_what_was_written_is_named(
    finished: RunFolder, other: RunFolder, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    path = finished.path / name
    if how == "flipped":
        flip_a_bit(path)
    elif how == "swapped":
        # Another run's: whole in itself, and of another run.
        source = other.path / name
        path.write_bytes(source.read_bytes() + (b"\n" if source.read_bytes() == path.read_bytes() else b""))
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunFolderError, match=name):
        finished.config(), finished.prompts(), finished.steps(), finished.curves()
    assert invoke(["compare", str(finished.path), str(other.path)]) == (0 if name.startswith("curves") else 1)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if not name.startswith("curves"):
        assert f"{path} is not what was written" in said
        assert "plateau-lens run" in said


def test_a_hand_edited_threshold_or_seed_is_noticed(finished: RunFolder) -> None:
    config = finished.path / "config.yaml"
    config.write_text(config.read_text().replace("threshold: 4.0", "threshold: 5.0"))
    with pytest.raises(RunFolderError, match=r"config\.yaml is not what was written"):
        finished.config()
    manifest = finished.path / "manifest.json"
    edited = json.loads(manifest.read_text()) | {"seed": 3}
    manifest.write_text(json.dumps(edited))
    with pytest.raises(
        RunFolderError, match=r"manifest\.json cannot be read: its own checksum does not hold"
    ):
        finished.manifest()


def test_measuring_again_mends_the_step_values_that_it_alone_makes(finished: RunFolder) -> None:
    wanted = finished.steps()
    flip_a_bit(finished.path / "steps.parquet")
    with pytest.raises(RunFolderError):
        finished.steps()
    measure_again(finished, {})
    assert finished.steps().equals(wanted)


def test_measuring_that_was_cut_short_is_done_again(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RunFolder.write_text

    def killed(self: RunFolder, name: str, text: str) -> Path:
        if name == "config.yaml":
            raise KeyboardInterrupt
        return real(self, name, text)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            measure_again(finished, {"statistics.ap.threshold": 41})
    with pytest.raises(
        RunFolderError, match="measuring its curves again was cut short; run `plateau-lens measure"
    ):
        RunFolder.open(finished.path)
    assert measure_again(finished, {"statistics.ap.threshold": 41})
    RunFolder.open(finished.path)
    assert finished.config().statistics["ap"]["threshold"] == 41
    assert finished.steps().filter(statistic="ap")["censored"].all()


def test_a_folders_name_is_no_pattern(tmp_path: Path) -> None:
    plain, odd = write_finished(tmp_path / "s0"), write_finished(tmp_path / "s[01]", shift=2)
    assert not odd.steps().equals(plain.steps())
    for folder, first in ((plain, 3), (odd, 5)):
        ms = folder.steps().filter(statistic="ms", response="l2", kind="random", schedule="relative")
        assert ms.sort("pair")["value"][0] == first
        assert folder.curves().height == 24
        measure_again(folder, {})
        assert folder.codes().height == 0
    for name in ("o[/x]", "a?b", "{a,b}", "*"):
        assert write_finished(tmp_path / name, shift=2).steps().equals(odd.steps())


class TestLock:
    def test_a_folder_is_written_by_one_at_a_time(self, finished: RunFolder, tmp_path: Path) -> None:
        import subprocess
        import sys

        code = (
            "import sys\nfrom pathlib import Path\nfrom plateau_lens.runs.lock import STALE, locked\n"
            "with locked(Path(sys.argv[1])):\n    print('mine', flush=True)\n    sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", code, str(finished.path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "mine\n"
            with pytest.raises(RunFolderError, match=rf"is being written by process {holder.pid} on "):
                measure_again(finished, {})
            holder.kill()
        measure_again(finished, {})

    def test_it_can_be_taken_again_by_its_owner(self, tmp_path: Path) -> None:
        with locked(tmp_path), locked(tmp_path):
            pass
        with locked(tmp_path):
            assert (tmp_path / ".owner.json").exists()
        assert not (tmp_path / ".owner.json").exists()

    def test_an_owner_on_another_machine_is_told_by_its_signs_of_life(self, finished: RunFolder) -> None:
        """As on a file system that keeps locks to each machine: the lock is free, and the folder is not."""
        owner = finished.path / ".owner.json"
        owner.write_text('{"process": 7, "host": "elsewhere", "since": "noon"}')
        wanted = r"was being written by process 7 on elsewhere since noon, .* last sign of life \d s ago"
        with pytest.raises(RunFolderError, match=wanted):
            measure_again(finished, {})
        assert owner.exists(), "it is the other's"
        past = time.time() - STALE - 1
        os.utime(owner, (past, past))
        measure_again(finished, {})
        assert not owner.exists()

    def test_an_owner_on_this_machine_that_has_no_lock_is_dead(self, finished: RunFolder) -> None:
        for text in (
            json.dumps({"process": 7, "host": socket.gethostname(), "since": "noon"}),
            "[]",
            "no JSON",
        ):
            (finished.path / ".owner.json").write_text(text)
            measure_again(finished, {})

    def test_an_owner_gives_signs_of_life(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("plateau_lens.runs.lock.BEAT", 0.01)
        owner = tmp_path / ".owner.json"
        with locked(tmp_path), locked(tmp_path):
            os.utime(owner, (0, 0))
            until = time.monotonic() + 5
            while owner.stat().st_mtime == 0 and time.monotonic() < until:
                time.sleep(0.01)
            assert owner.stat().st_mtime > 0

    def test_nothing_is_left_where_nothing_was_begun(self, tmp_path: Path) -> None:
        with locked(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "config.yaml").write_text("")
        with locked(tmp_path):
            pass
        assert (tmp_path / ".lock").exists()

    def test_what_a_killed_writer_left_half_is_taken_away(self, finished: RunFolder) -> None:
        halves = [
            finished.path / name for name in (".steps.parquet.a1b2.tmp", "curves/.part-00000.parquet.x.tmp")
        ]
        own = finished.path / "notes.tmp"
        for path in (*halves, own):
            path.write_text("half")
        measure_again(finished, {})
        assert not any(path.exists() for path in halves)
        assert own.exists()


def test_a_folder_that_was_moved_does_not_come_back_in_part(finished: RunFolder, tmp_path: Path) -> None:
    shutil.move(finished.path, tmp_path / "moved")
    with pytest.raises(RunFolderError, match="was moved or removed"):
        finished.require_there()
    with pytest.raises(FileNotFoundError):
        finished.write_table("curves/part-00001.parquet", pl.DataFrame({"pair": np.arange(2)}))
    assert not finished.path.exists()
