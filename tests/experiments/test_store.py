from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plateau_lens import RunFolder, RunFolderError
from plateau_lens.experiments.store import FORMAT, whole_file


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def half_write(path: Path, error: BaseException) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise error


class TestWholeFile:
    def test_appears_at_once(self, tmp_path: Path):
        path = tmp_path / "deep" / "file.txt"
        with whole_file(path) as temporary:
            temporary.write_text("new")
            assert not path.exists()
        assert path.read_text() == "new"
        assert names_in(tmp_path) == ["deep/file.txt"]

    def test_a_failure_leaves_nothing(self, tmp_path: Path):
        with pytest.raises(ZeroDivisionError):
            half_write(tmp_path / "file.txt", ZeroDivisionError())
        assert names_in(tmp_path) == []

    def test_a_failure_leaves_the_old_one(self, tmp_path: Path):
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(KeyboardInterrupt):
            half_write(path, KeyboardInterrupt())
        assert path.read_text() == "old"
        assert names_in(tmp_path) == ["file.txt"]

    def test_others_may_read_it(self, tmp_path: Path):
        with whole_file(tmp_path / "file.txt") as temporary:
            temporary.write_text("x")
        assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def shard(value: float = 1.0) -> tuple[dict[str, np.ndarray], pl.DataFrame, pl.DataFrame]:
    activations = {"pair": np.arange(2), "base": np.full((2, 3), value, np.float32)}
    curves = pl.DataFrame({"pair": [0, 1], "l2": [[0.0, value], [0.0, 2 * value]]})
    return activations, curves, pl.DataFrame({"pair": [0, 1], "active": [value, value]})


class TestShards:
    def test_written_whole_with_checksums(self, folder: RunFolder):
        from hashlib import sha256

        checksums = folder.write_shard(3, *shard())
        assert set(checksums) == {
            "activations/part-00003.safetensors",
            "curves/part-00003.parquet",
            "codes/part-00003.parquet",
        }
        assert names_in(folder.path) == sorted(checksums)
        for name, digest in checksums.items():
            assert sha256((folder.path / name).read_bytes()).hexdigest() == digest
        assert folder.whole_shards(checksums) == {3}

    def test_whole_means_every_file_as_it_was_written(self, folder: RunFolder):
        checksums: dict[str, str] = {}
        for unit in range(7):
            checksums |= folder.write_shard(unit, *shard(unit))
        assert folder.whole_shards(checksums) == set(range(7))
        activations, curves, codes = zip(*(folder.shard_names(unit) for unit in range(7)), strict=True)
        (folder.path / codes[6]).unlink()
        (folder.path / curves[1]).unlink()
        (folder.path / activations[2]).unlink()
        content = bytearray((folder.path / curves[3]).read_bytes())
        content[len(content) // 2] ^= 1
        (folder.path / curves[3]).write_bytes(content)
        (folder.path / activations[4]).write_bytes((folder.path / activations[4]).read_bytes()[:-1])
        assert folder.whole_shards(checksums) == {0, 5}
        without = {name: digest for name, digest in checksums.items() if name != activations[5]}
        assert folder.whole_shards(without) == {0}

    def test_a_shard_that_is_not_in_the_manifest_does_not_count(self, folder: RunFolder):
        folder.write_shard(0, *shard())
        assert folder.whole_shards({}) == set()

    def test_a_failure_while_writing_leaves_no_part(self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch):

        def full(*_: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
        with pytest.raises(OSError, match="no space left"):
            folder.write_shard(0, *shard())
        assert not [name for name in names_in(folder.path) if "curves" in name or name.endswith(".tmp")]


class TestOpening:
    def test_what_is_no_run_folder(self, tmp_path: Path):
        with pytest.raises(RunFolderError, match="is not a folder; a run folder is made by"):
            RunFolder.open(tmp_path / "nowhere")
        with pytest.raises(RunFolderError, match=r"config\.yaml and manifest\.json missing"):
            RunFolder.open(tmp_path)

    def test_another_format(self, folder: RunFolder):
        folder.write_text("config.yaml", "{}")
        folder.write_manifest({"format": FORMAT + 1})
        with pytest.raises(
            RunFolderError, match=f"has format {FORMAT + 1}, this version reads format {FORMAT}"
        ):
            RunFolder.open(folder.path)

    def test_a_manifest_that_is_not_json(self, folder: RunFolder):
        folder.write_text("config.yaml", "{}")
        folder.write_text("manifest.json", "{")
        with pytest.raises(RunFolderError, match=r"manifest\.json is not JSON"):
            RunFolder.open(folder.path)

    def test_creating_in_a_strangers_folder(self, tmp_path: Path):
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(
            RunFolderError, match=r"holds 'thesis\.tex' and is not a run folder; choose an empty"
        ):
            RunFolder.create(tmp_path)
        assert names_in(tmp_path) == ["thesis.tex"]

    def test_creating_where_a_file_is(self, tmp_path: Path):
        (tmp_path / "file").write_text("x")
        for path in (tmp_path / "file", tmp_path / "file" / "run"):
            with pytest.raises(RunFolderError, match="cannot write to"):
                RunFolder.create(path)

    def test_creating_again(self, folder: RunFolder):
        folder.write_manifest({"format": FORMAT})
        assert RunFolder.create(folder.path) == folder

    def test_reading_what_is_not_there_yet(self, folder: RunFolder):
        folder.write_manifest({"format": FORMAT})
        with pytest.raises(RunFolderError, match="has no curves yet"):
            folder.curves()
        with pytest.raises(RunFolderError, match=r"has no steps\.parquet yet"):
            folder.steps()

    def test_a_manifest_is_json_that_others_can_read(self, folder: RunFolder):
        folder.write_manifest({"format": FORMAT, "name": "Grüße"})

        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        text = (folder.path / "manifest.json").read_text(encoding="utf-8")
        assert json.loads(text, parse_constant=refuse)["name"] == "Grüße"
