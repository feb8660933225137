"""`fetch` and `run gpt2-paper` by the command line, against the stand-in hub: online, offline, without a hub."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
import yaml
from repositories import DATASET, MODEL, SAE_REPOSITORY, SITE

NO_SERVER = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture
def small(tmp_path):
    """The preset itself, cut down in numbers only."""
    config = {
        "preset": "gpt2-paper",
        "pairs": 3,
        "n_steps": 10,
        "experiments": ["toward"],
        "schedules": ["relative"],
        "responses": ["l2"],
        "kinds": ["model-generated", "synthetic-structured"],
        "prompts": {"population": 40},
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def one_message(outcome, *parts):
    assert outcome.status == 1, outcome.err
    assert outcome.err.count("plateau-lens:") == 1
    assert "Traceback" not in outcome.err
    for part in parts:
        assert part in outcome.err


def test_nothing_cached(hub, command, small, tmp_path):
    hub.fail("HEAD", f"/{MODEL}/resolve", status=401, code="GatedRepo")
    variables = [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": NO_SERVER}, {}]
    with ThreadPoolExecutor() as pool:
        done = pool.map(lambda extra: command("fetch", small, **extra), variables)
        offline, no_server, gated = done
    one_message(offline, "the model 'gpt2' is not in the cache", "HF_HUB_OFFLINE", "plateau-lens fetch")
    one_message(no_server, "the model 'gpt2' cannot be fetched", f"no connection to {NO_SERVER}")
    one_message(gated, "the model 'gpt2' is gated")


def test_fetch_then_run(hub, command, small, tmp_path, repositories):
    fetched = command("fetch", small)
    assert fetched.status == 0, fetched.err
    assert "explained variance of the SAE's reconstruction on the run's prompts: 1.000" in fetched.out
    assert f"{Path(small).stem} is ready, offline too." in fetched.out
    assert repositories[DATASET].commit in fetched.out
    hub.log.clear()
    hub.fail("GET", ".")
    hub.fail("HEAD", ".")
    with ThreadPoolExecutor() as pool:
        offline = pool.submit(command, "run", "--no-report", small, "--out", "offline", HF_HUB_OFFLINE="1")
        no_server = pool.submit(command, "fetch", small, HF_ENDPOINT=NO_SERVER)
    assert offline.result().status == 0, offline.result().err
    assert "explained variance" in offline.result().err
    assert "note on the SAE: it was trained on contexts that begin with BOS" in offline.result().err
    assert "explained variance" not in offline.result().out
    assert no_server.result().status == 0, no_server.result().err
    assert no_server.result().out == fetched.out
    assert hub.log == []

    manifest = json.loads((tmp_path / "offline" / "manifest.json").read_text())
    assert manifest["model"]["revision"] == repositories[MODEL].commit
    assert manifest["sae"]["revision"] == repositories[SAE_REPOSITORY].commit
    assert manifest["sae"]["frequency"] == "shipped with the SAE"
    assert manifest["prompts"]["revision"] == repositories[DATASET].commit
    assert manifest["centred"] is True
    fit = manifest["fit"]
    assert fit["explained_variance"] == pytest.approx(1, abs=1e-6)
    assert fit["refusals"] == []
    assert len(fit["warnings"]) == 1
    assert fit["forced"] is False
    resolved = yaml.safe_load((tmp_path / "offline" / "config.yaml").read_text())
    assert resolved["model"]["revision"] == repositories[MODEL].commit
    assert resolved["prompts"]["revision"] == repositories[DATASET].commit
    assert resolved["sae"]["id"] == SITE
    prompts = pl.read_parquet(tmp_path / "offline" / "prompts.parquet")["tokens"].to_list()
    assert prompts == _first_tokens(repositories, 3)


def _first_tokens(repositories, count):
    shard = repositories[DATASET].files["data/train-00000-of-00002.parquet"]
    rows = pl.read_parquet(shard)["input_ids"].to_list()
    return [row[:10] for row in rows if len(row) >= 10][:count]
