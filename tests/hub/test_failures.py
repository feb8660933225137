"""Whatever a hub does wrong ends in one message or in success, and a broken download is never taken for good."""

import hashlib
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from repositories import D_SAE, MODEL, SAE_REPOSITORY, SITE, VOCAB, parquet
from stand_in_hub import Repository

HEAL, MARK = ["tell", "/_heal"], ["tell", "/_mark"]


def said(outcome, *parts):
    assert outcome.get("error"), f"expected an error, got {outcome}"
    for part in parts:
        assert part in outcome["text"], outcome["text"]
    assert "Traceback" not in outcome["text"]


def without(repository, name):
    return Repository({key: content for key, content in repository.files.items() if key != name})


def test_models(hub, probe, repositories):
    whole = repositories[MODEL]
    cases = ("gated", "busy-once", "busy", "short", "cut", "damaged", "slow-once", "slow", "optional")
    hub.models |= {f"case/{name}": whole for name in cases}
    hub.models["case/no-config"] = without(whole, "config.json")
    hub.models["case/no-weights"] = Repository(
        {name: content for name, content in whole.files.items() if "model." not in name}
    )
    hub.fail("HEAD", "case/gated/resolve", status=401, code="GatedRepo")
    hub.fail("GET", "api/models/case/busy-once", status=503, times=1)
    hub.fail("HEAD", "case/busy-once/resolve/main/vocab.json", status=503, times=1)
    hub.fail("GET", "case--busy-once/model.safetensors", status=503, times=2)
    hub.fail("GET", "case--busy/model.safetensors", status=503)
    hub.fail("GET", "case--short/model.safetensors", shortened=True)
    hub.fail("GET", "case--cut/model.safetensors", cut_at=1000, times=2)
    hub.fail("GET", "case--damaged/model.safetensors", damaged=True)
    hub.fail("GET", "case--slow-once/model.safetensors", stall=2, times=1)
    hub.fail("GET", "case--slow/model.safetensors", stall=2)
    # transformers alone would go on without a tokenizer file that it could not fetch
    hub.fail("HEAD", "case/optional/resolve/main/vocab.json", status=503)
    failing = ("gated", "busy", "short", "damaged", "slow", "optional", "no-config", "no-weights", "nowhere")
    good, *rest = probe(
        ["model", MODEL],
        *(["model", f"case/{name}"] for name in ("busy-once", "cut", "slow-once")),
        *(["model", f"case/{name}"] for name in failing),
        HEAL,
        *(["model", f"case/{name}"] for name in ("gated", "busy", "short", "damaged", "slow", "optional")),
    )
    assert good["revision"] == whole.commit
    assert good["sha256"] == {"model.safetensors": whole.etag("model.safetensors")}
    assert len(good["tokens"]) == 3
    assert rest[:3] == [good] * 3
    found = dict(zip(failing, rest[3:], strict=False))
    said(found["gated"], "the model 'case/gated' is gated", "hf auth login")
    said(found["busy"], "answers HTTP 503", "try again later")
    said(found["short"], "cut the download short", "run again")
    said(found["damaged"], "model.safetensors is damaged", "delete")
    said(found["slow"], "stayed silent for 0.5 s", "HF_HUB_DOWNLOAD_TIMEOUT")
    said(found["optional"], "answers HTTP 503")
    said(found["no-config"], "has no config.json")
    said(found["no-weights"], "neither safetensors nor pytorch_model.bin")
    said(found["nowhere"], "the model 'case/nowhere' is not on", "or is private", "legal: a Hugging Face id")
    assert rest[-6:] == [good] * 6
    fetched = {line.rpartition("/")[2] for line in hub.log if line.startswith("GET") and "gpt2" in line}
    assert not fetched & {"pytorch_model.bin", "rust_model.ot", "decoder_model.onnx"}


def test_saes(hub, probe, repositories):
    whole = repositories[SAE_REPOSITORY]
    hub.models |= {f"case/{name}": whole for name in ("busy-frequency", "short", "old")}
    hub.models["case/no-frequency"] = without(whole, f"{SITE}/sparsity.safetensors")
    hub.models["case/no-weights"] = without(whole, f"{SITE}/sae_weights.safetensors")
    hub.fail("HEAD", "case/busy-frequency/.*/sparsity", status=503)
    hub.fail("GET", "case--short/.*/sae_weights", shortened=True)
    names = ("busy-frequency", "short", "no-frequency", "no-weights")
    good, *rest = probe(
        ["sae", "gpt2-small-res-jb", SITE],
        *(["sae", f"case/{name}", SITE] for name in names),
        ["sae", "gpt2-small-res-jb", "blocks.1.hook_resid_post"],
        ["sae", "gpt2-small-res-bj", SITE],
        HEAL,
        ["sae", "case/busy-frequency", SITE],
        ["sae", "case/short", SITE],
    )
    # log10 in the file; the last latent is dead
    np.testing.assert_allclose(good["frequency"][:-1], np.logspace(-1, -4, D_SAE)[:-1], rtol=1e-5)
    assert good["frequency"][-1] == 0
    record = good["provenance"]
    assert record["revision"] == whole.commit
    assert record["sha256"] == {name.rpartition("/")[2]: _sha256(whole, name) for name in whole.files}
    assert record["metadata"] == {
        "model_name": "gpt2-small",
        "hook_name": SITE,
        "context_size": 128,
        "prepend_bos": True,
        "model_from_pretrained_kwargs": {"center_writing_weights": True},
    }
    found = dict(zip(names, rest, strict=False))
    # SAELens alone would take this for a release without frequencies, and they would be measured instead
    said(found["busy-frequency"], "answers HTTP 503")
    said(found["short"], "cut the download short")
    assert found["no-frequency"]["frequency"] is None
    said(found["no-weights"], "lacks 'blocks.1.hook_resid_pre/sae_weights.safetensors'")
    said(rest[4], "has no SAE 'blocks.1.hook_resid_post'; did you mean", "legal: blocks.0.hook_resid_pre")
    said(rest[5], "neither a folder nor a SAELens release; did you mean 'gpt2-small-res-jb'")
    for healed in rest[-2:]:
        assert healed["sum"] == good["sum"]
        assert healed["frequency"] == good["frequency"]


def _sha256(repository, name):
    return hashlib.sha256(repository.files[name]).hexdigest()


@pytest.fixture
def rows():
    return np.random.default_rng(0).integers(0, 256, size=(30, 12))


def test_datasets(hub, probe, repositories, rows):
    good = Repository({"train.parquet": parquet({"tokens": rows.tolist(), "text": ["x"] * 30})})
    cases = ("gated", "busy", "short", "busy-once", "cut")
    hub.datasets |= {f"case/{name}": good for name in cases}
    hub.datasets["case/other-ids"] = Repository(
        {"train.parquet": parquet({"tokens": (rows + VOCAB).tolist()})}
    )
    hub.datasets["case/other-columns"] = Repository({"train.parquet": parquet({"story": ["a b c"] * 5})})
    hub.fail("GET", "datasets/case/gated/resolve.*parquet", status=401, code="GatedRepo")
    hub.fail("HEAD", "datasets/case/gated/resolve.*parquet", status=401, code="GatedRepo")
    hub.fail("GET", "datasets/case--busy/", status=503)
    hub.fail("GET", "datasets/case--busy-once/", status=503, times=2)
    hub.fail("GET", "datasets/case--cut/", cut_at=10, times=2)
    hub.fail("GET", "datasets/case--short/", shortened=True)

    def prompts(name, **arguments):
        return [
            "prompts",
            {"model": MODEL, "source": f"dataset:{name}", "n_ctx": 8, "at_most": 10, **arguments},
        ]

    failing = ("gated", "busy", "short", "other-ids", "other-columns", "nowhere")
    first, cut, *rest = probe(
        prompts("case/busy-once"),
        prompts("case/cut"),
        *(prompts(f"case/{name}") for name in failing),
        prompts("case/busy-once", split="test"),
        prompts("case/short", revision="v9"),
        HEAL,
        *(prompts(f"case/{name}") for name in ("gated", "busy", "short")),
        prompts("case/other-columns", column="story", n_ctx=3),
    )
    assert first["tokens"] == rows[:10, :8].tolist()
    assert first["provenance"]["revision"] == good.commit
    assert cut["tokens"] == first["tokens"]
    found = dict(zip(failing, rest, strict=False))
    said(found["gated"], "the dataset 'case/gated' is gated")
    said(found["busy"], "answers HTTP 503")
    said(found["short"], "what arrived of the dataset 'case/short' is damaged", "nothing of it is kept")
    said(found["other-ids"], "tokenised for another model", "has ids 0..299")
    said(found["other-columns"], "has no column 'input_ids' or 'tokens' or 'text'; it has 'story'")
    said(found["nowhere"], "the dataset 'case/nowhere' is not on")
    said(rest[6], "test", "train")
    said(rest[7], "no such revision")
    for healed in rest[-4:-1]:
        assert healed["tokens"] == first["tokens"]
    said(
        rest[-1],
        "gives 1 distinct prompts of 3 tokens (5 rows, 5 of them at least that long), but 2 are needed",
    )


def test_dataset_windows_are_kept(hub, probe, repositories):
    source = {
        "source": "dataset:apollo-research/Skylion007-openwebtext-tokenizer-gpt2",
        "model": MODEL,
        "n_ctx": 10,
    }
    texts = {"source": "dataset:someone/texts", "model": MODEL, "n_ctx": 10, "at_most": 5}
    few, same, fewer, more, text = probe(
        ["prompts", {**source, "at_most": 20}],
        MARK,
        ["prompts", {**source, "at_most": 20}],
        ["prompts", {**source, "at_most": 10}],
        MARK,
        ["prompts", {**source, "at_most": 110}],
        ["prompts", texts],
    )
    rows = [row for row in _rows(repositories) if len(row) >= 10]
    distinct = list(dict.fromkeys(tuple(row[:10]) for row in rows))
    assert few["tokens"] == [list(row) for row in distinct[:20]]
    assert few["provenance"]["rows"] == 22  # one is too short and one repeats
    assert same == few
    assert fewer["tokens"] == few["tokens"][:10]
    assert more["tokens"] == [list(row) for row in distinct[:110]]
    # Streamed: one shard, then nothing, then both.
    marks = [index for index, line in enumerate(hub.log) if line == "GET /_mark"]
    parts = [hub.log[: marks[0]], hub.log[marks[0] : marks[1]], hub.log[marks[1] :]]
    shards = [{line.split("train-")[-1][:5] for line in part if "/train-" in line} for part in parts]
    assert shards == [{"00000"}, set(), {"00000", "00001"}]
    # Row 0 is too short in tokens; no special token is put before the others.
    assert text["text"] == "001 is the"
    assert text["provenance"]["column"] == "text"


def _rows(repositories):
    files = repositories["apollo-research/Skylion007-openwebtext-tokenizer-gpt2"].files
    names = sorted(name for name in files if name.endswith(".parquet"))
    return [row for name in names for row in pq.read_table(io.BytesIO(files[name]))["input_ids"].to_pylist()]
