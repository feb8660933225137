"""What is kept of a dataset serves offline, and nothing else does."""

from types import SimpleNamespace

import numpy as np
import pytest

from plateau_lens._errors import ResourceError
from plateau_lens.prompts import dataset
from plateau_lens.prompts.dataset import DatasetSource, Windows, load_windows

SOURCE = DatasetSource("owner/name")
TOKENS = np.arange(40).reshape(10, 4)


@pytest.fixture
def loaded():
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=50))
    return SimpleNamespace(model=SimpleNamespace(config=config), tokenizer=None, source="a model")


@pytest.fixture
def keep(tmp_path, monkeypatch, loaded):
    """Puts windows where a run that read them would have; the tests' process is offline."""
    monkeypatch.setenv("PLATEAU_LENS_CACHE", str(tmp_path))
    assert dataset.offline()

    def write(tokens, *, exhausted=0):
        folder = tmp_path / "prompts" / "owner--name"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "e3b0c44298fc").write_text("c0ffee")  # sha256 of nothing: the default branch
        file = folder / "c0ffee" / f"{dataset._key(SOURCE, loaded, 4)}.parquet"
        dataset._write(file, Windows(tokens, {"revision": "c0ffee", "rows": 12, "exhausted": exhausted}))
        return file

    return write


def test_offline_serves_what_is_kept(keep, loaded):
    keep(TOKENS)
    found = load_windows(loaded, SOURCE, n_ctx=4, count=6)
    np.testing.assert_array_equal(found.tokens, TOKENS[:6])
    assert found.tokens.dtype == np.int64
    assert found.provenance["revision"] == "c0ffee"
    assert "exhausted" not in found.provenance


def test_the_digest_is_of_the_windows_used(keep, loaded):
    keep(TOKENS)
    six, again, seven = (load_windows(loaded, SOURCE, n_ctx=4, count=n) for n in (6, 6, 7))
    assert six.provenance == again.provenance
    assert six.provenance["tokens_sha256"] != seven.provenance["tokens_sha256"]


@pytest.mark.parametrize(
    ("change", "count", "n_ctx"),
    [
        ({}, 11, 4),
        ({}, 5, 3),
        ({"split": "test"}, 5, 4),
        ({"column": "text"}, 5, 4),
        ({"revision": "v2"}, 5, 4),
    ],
)
def test_offline_does_not_serve_anything_else(keep, loaded, change, count, n_ctx):
    keep(TOKENS)
    other = DatasetSource(**{"name": "owner/name", **change})
    with pytest.raises(ResourceError, match="plateau-lens fetch"):
        load_windows(loaded, other, n_ctx=n_ctx, count=count)


def test_a_dataset_read_to_its_end_gives_what_it_has(keep, loaded):
    keep(TOKENS, exhausted=1)
    assert len(load_windows(loaded, SOURCE, n_ctx=4, count=99).tokens) == len(TOKENS)


def test_a_damaged_file_is_not_taken(keep, loaded):
    file = keep(TOKENS)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ResourceError, match="has nothing of 4 tokens"):
        load_windows(loaded, SOURCE, n_ctx=4, count=5)


def test_other_ids_are_refused(keep, loaded):
    keep(TOKENS + 20)
    with pytest.raises(ResourceError, match=r"from 20 to 59, but 'a model' has ids 0\.\.49"):
        load_windows(loaded, SOURCE, n_ctx=4, count=10)
