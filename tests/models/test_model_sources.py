from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from plateau_lens import ResourceError, load_model
from plateau_lens.models.quiet import quiet


def test_a_local_folder_comes_back_whole(tiny_model_folder: Path, tiny_tokens: torch.Tensor):
    from transformers import AutoModelForCausalLM

    loaded = load_model(str(tiny_model_folder))
    with quiet(), torch.no_grad():
        wanted = AutoModelForCausalLM.from_pretrained(tiny_model_folder)(tiny_tokens[:4]).logits
        assert torch.equal(loaded.model(tiny_tokens[:4]).logits, wanted)
    assert loaded.model.training is False
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer is not None
    ids = loaded.tokenizer.encode("The old bridge", add_special_tokens=False)
    assert loaded.tokenizer.decode(ids) == "The old bridge"
    digest = sha256((tiny_model_folder / "model.safetensors").read_bytes()).hexdigest()
    record = loaded.provenance()
    assert record["sha256"] == {"model.safetensors": digest}
    assert record["class"] == "LlamaForCausalLM"
    assert record["parameters"] == sum(p.numel() for p in loaded.model.parameters())
    json.dumps(record)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_dtype(tiny_model_folder: Path, dtype: str):
    assert load_model(str(tiny_model_folder), dtype=dtype).model.dtype == getattr(torch, dtype)


def test_a_model_without_a_tokenizer(tmp_path: Path, make_tiny_model: Callable[..., Any]):
    with quiet():
        make_tiny_model("gpt2").save_pretrained(tmp_path)
    assert load_model(str(tmp_path)).tokenizer is None


def test_a_damaged_tokenizer_is_as_good_as_none(tiny_model_folder: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    table = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**table, "post_processor": {"type": 3}}))
    assert load_model(str(folder)).tokenizer is None


def refusal(source: str, **arguments: Any) -> str:
    with pytest.raises(ResourceError) as caught:
        load_model(source, **arguments)
    return str(caught.value)


def test_an_encoder_decoder_is_refused(tmp_path: Path):
    from transformers import T5Config

    T5Config(d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2, vocab_size=50).save_pretrained(tmp_path)
    assert re.search("encoder-decoder.*t5.*decoder-only", refusal(str(tmp_path)))


@pytest.mark.parametrize(
    "source", ["no-such-owner/no-such-model", "gpt2-of-another-world", "./no/such/folder"]
)
def test_a_hub_id_without_a_hub_is_one_clear_message(source: str):
    message = refusal(source)
    assert source in message
    assert "a Hugging Face id (network or a filled cache needed), a local folder" in message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 3


def test_an_empty_folder(tmp_path: Path):
    assert str(tmp_path) in refusal(str(tmp_path))


@pytest.fixture
def copy_of_model(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "copy"))


def test_a_folder_without_weights(copy_of_model: Path):
    (copy_of_model / "model.safetensors").unlink()
    assert "cannot load" in refusal(str(copy_of_model))


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_weights_cut_short(copy_of_model: Path, size: int):
    weights = copy_of_model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    assert "cannot load" in refusal(str(copy_of_model))


def test_a_config_that_is_not_json(copy_of_model: Path):
    (copy_of_model / "config.json").write_text("{nonsense")
    assert "cannot load" in refusal(str(copy_of_model))


def test_a_device_that_is_not_here(tiny_model_folder: Path):
    assert re.search(
        "device 'no-such-device' cannot be used", refusal(str(tiny_model_folder), device="no-such-device")
    )


def test_loading_leaves_filters_and_loggers_alone(tiny_model_folder: Path):
    import logging
    import warnings

    from transformers.utils import logging as transformers_logging

    before = (
        list(warnings.filters),
        logging.getLogger().level,
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    load_model(str(tiny_model_folder))
    after = (
        list(warnings.filters),
        logging.getLogger().level,
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    assert after == before


def drop(folder: Path, *names: str, rename: bool = False) -> None:
    """Take weights out of a checkpoint, or call them otherwise."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for name in names:
        tensor = weights.pop(name)
        if rename:
            weights[f"renamed.{name}"] = tensor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("rename", [False, True], ids=["gone", "renamed"])
@pytest.mark.parametrize(
    "names",
    [
        ("model.layers.3.mlp.up_proj.weight",),
        tuple(f"model.layers.2.self_attn.{name}_proj.weight" for name in "qkvo"),
        ("lm_head.weight",),
    ],
    ids=["a tensor", "an attention", "an untied head"],
)
def test_a_checkpoint_that_lacks_weights_is_refused(
    copy_of_model: Path, edit_json: Callable[..., None], names: tuple[str, ...], rename: bool
):
    # transformers would go on with random ones, and say so where nobody looks.
    edit_json(copy_of_model / "config.json", tie_word_embeddings=False)
    assert load_model(str(copy_of_model)).model is not None
    drop(copy_of_model, *names, rename=rename)
    message = refusal(str(copy_of_model))
    assert "is not whole: weights are missing" in message
    assert sorted(names)[0] in message


def test_tied_weights_may_be_stored_once(copy_of_model: Path, edit_json: Callable[..., None]):
    edit_json(copy_of_model / "config.json", tie_word_embeddings=True)
    drop(copy_of_model, "lm_head.weight")
    model = load_model(str(copy_of_model)).model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_weight_of_another_shape_is_refused(copy_of_model: Path, edit_json: Callable[..., None]):
    edit_json(copy_of_model / "config.json", intermediate_size=52)
    assert str(copy_of_model) in refusal(str(copy_of_model))


def test_code_of_a_model_folders_own_is_never_run(copy_of_model: Path, edit_json: Callable[..., None]):
    ran = copy_of_model / "ran"
    (copy_of_model / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    edit_json(
        copy_of_model / "config.json",
        model_type="own",
        auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
    )
    assert str(copy_of_model) in refusal(str(copy_of_model))
    assert not ran.exists()


def test_a_name_that_cannot_be_a_hub_id() -> None:
    with pytest.raises(ResourceError, match="is no model folder, and cannot be a hub id; legal: "):
        load_model("_😀yA8{#")
