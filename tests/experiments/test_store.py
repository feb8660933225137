from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plateau_lens import RunFolder, RunFolderError, load_config
from plateau_lens.runs import folder as store
from plateau_lens.runs.config import dump
from plateau_lens.runs.folder import FORMAT, whole_file


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
        activations, curves, codes, _ = zip(*(folder.shard_names(unit) for unit in range(7)), strict=True)
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

    def test_a_unit_has_its_paths_or_its_latents_or_both(self, folder: RunFolder):
        latents = pl.DataFrame({"pair": [0], "active": [3]})
        alone = folder.write_shard(0, latents=latents)
        assert list(alone) == ["latents/part-00000.parquet"]
        both = folder.write_shard(1, *shard(), latents)
        paths = folder.write_shard(2, *shard())
        assert folder.whole_shards({**alone, **both, **paths}) == {0, 1, 2}
        (folder.path / "latents/part-00000.parquet").write_bytes(b"")
        (folder.path / "latents/part-00001.parquet").unlink()
        assert folder.whole_shards({**alone, **both, **paths}) == {2}

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


class TestJournal:
    @pytest.fixture
    def begun(self, folder: RunFolder) -> RunFolder:
        folder.write_manifest({"format": FORMAT, "seconds": 1.0, "shards": {"a": "1"}})
        folder.enter_shard({"b": "2"}, seconds=2.5)
        folder.enter_shard({"c": "3"}, seconds=4.0)
        return folder

    def test_what_is_entered_is_read_with_the_manifest(self, begun: RunFolder):
        wanted = {"format": FORMAT, "seconds": 4.0, "shards": {"a": "1", "b": "2", "c": "3"}}
        assert begun.manifest() == {**wanted, "files": {}}

    def test_the_manifest_itself_is_not_written_again(self, begun: RunFolder):
        assert json.loads((begun.path / "manifest.json").read_text())["shards"] == {"a": "1"}

    def test_it_ends_when_the_manifest_has_it_all(self, begun: RunFolder):
        whole = begun.manifest()
        begun.write_manifest(whole)
        assert names_in(begun.path) == ["manifest.json"]
        assert begun.manifest() == whole

    def test_killed_between_the_manifest_and_the_end_of_the_journal(self, begun: RunFolder):
        whole = begun.manifest()
        journal = (begun.path / "manifest.jsonl").read_bytes()
        begun.write_manifest(whole)
        (begun.path / "manifest.jsonl").write_bytes(journal)
        assert begun.manifest() == whole

    def test_an_entry_that_was_cut_short_does_not_count(self, begun: RunFolder):
        journal = (begun.path / "manifest.jsonl").read_bytes()
        second = journal.index(b"\n") + 1
        for end in range(second, len(journal)):
            (begun.path / "manifest.jsonl").write_bytes(journal[:end])
            assert begun.manifest()["shards"] == {"a": "1", "b": "2"}
            assert begun.manifest()["seconds"] == 2.5

    def test_an_entry_that_is_not_json(self, begun: RunFolder):
        (begun.path / "manifest.jsonl").write_bytes(b"\0\0\0\n")
        with pytest.raises(RunFolderError, match=r"a line of .*manifest\.jsonl cannot be read"):
            begun.manifest()


class TestBlocks:
    def test_a_table_written_in_blocks_is_their_sum(self, folder: RunFolder):
        blocks = [pl.DataFrame({"pair": [i, i], "kind": ["a", f"k{i}"]}) for i in range(5)]
        path = folder.write_blocks("steps.parquet", iter(blocks))
        assert pl.read_parquet(path).equals(pl.concat(blocks))

    def test_a_failure_in_a_block_leaves_nothing(self, folder: RunFolder):
        def blocks() -> Iterator[pl.DataFrame]:
            yield pl.DataFrame({"pair": [1]})
            raise OSError("cannot read the next one")

        with pytest.raises(Exception, match="cannot read the next one"):
            folder.write_blocks("steps.parquet", blocks())
        assert names_in(folder.path) == []

    @pytest.mark.parametrize("unit_size", [1, 10, 10_000])
    def test_curves_come_a_few_pairs_at_a_time_and_all_of_them(
        self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, unit_size: int
    ):
        monkeypatch.setattr(store, "PAIRS_A_BLOCK", 20)
        config = {"model": {"source": "m"}, "kinds": ["random"], "unit_size": unit_size}
        folder.write_text("config.yaml", dump(load_config(config)))
        shards: dict[str, str] = {}
        for unit in range(45):
            shards |= folder.write_shard(
                unit, {}, pl.DataFrame({"pair": [unit]}), pl.DataFrame({"pair": [unit]})
            )
        folder.write_manifest({"format": FORMAT, "shards": shards})
        blocks = [block.collect()["pair"].to_list() for block in folder.curve_blocks()]
        assert [pair for block in blocks for pair in block] == list(range(45))
        assert max(map(len, blocks)) == max(1, 20 // unit_size)

    @pytest.mark.parametrize("first_is_older", [True, False])
    def test_a_run_begun_before_a_column_existed_is_read_all_the_same(
        self, folder: RunFolder, first_is_older: bool
    ):
        tables = [pl.DataFrame({"pair": [0]}), pl.DataFrame({"pair": [1], "base_norm": [3.0]})]
        tables = tables if first_is_older else tables[::-1]
        shards: dict[str, str] = {}
        for unit, curves in enumerate(tables):
            shards |= folder.write_shard(unit, {}, curves, pl.DataFrame({"pair": [unit]}))
        folder.write_text("config.yaml", dump(load_config({"model": {"source": "m"}, "kinds": ["random"]})))
        folder.write_manifest({"format": FORMAT, "shards": shards})
        for found in (folder.scan_curves().collect(), *(block.collect() for block in folder.curve_blocks())):
            assert sorted(found["pair"]) == [0, 1]
            if not first_is_older:
                assert found.sort("pair")["base_norm"].to_list() == [None, 3.0]


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
        with pytest.raises(RunFolderError, match=r"manifest\.json cannot be read"):
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
