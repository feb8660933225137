from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from plateau_lens import LoadedModel, PlateauLensError, ResourceError, load_model
from plateau_lens.prompts.sampled import sample_documents, sample_windows
from plateau_lens.prompts.sources import load_prompts, start_token


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


@pytest.fixture(scope="module")
def smollm2_like() -> LoadedModel:
    """Something with the vocabulary that the bundled prompts are made of; it is never run."""
    from transformers import LlamaConfig

    return LoadedModel(SimpleNamespace(config=LlamaConfig(vocab_size=49152)), None, "smollm2", None, None)


def refusal(loaded: LoadedModel, source: str, **changes: Any) -> str:
    arguments = {"n_ctx": 5, "at_most": 100, "at_least": 2, "seed": 0, **changes}
    with pytest.raises(ResourceError) as caught:
        load_prompts(loaded, source, **arguments)
    return str(caught.value)


class TestBundled:
    @pytest.mark.parametrize(("n_ctx", "file"), [(4, "10"), (10, "10"), (11, "128"), (128, "128")])
    def test_lengths(self, smollm2_like: LoadedModel, n_ctx: int, file: str):
        found = load_prompts(smollm2_like, "bundled", n_ctx=n_ctx, at_most=150, at_least=100, seed=0)
        assert found.tokens.shape == (150, n_ctx)
        assert found.tokens.dtype == np.int64
        assert 0 <= found.tokens.min() < found.tokens.max() < 49152
        assert len({tuple(row) for row in found.tokens.tolist()}) == 150
        assert found.provenance["file"] == f"prompts-{file}.parquet"
        assert found.provenance["used"] == 150
        assert found.text[0] == " ".join(map(str, found.tokens[0]))

    def test_no_special_token_in_them(self, smollm2_like: LoadedModel):
        # SmolLM2's special tokens are its first 17 ids.
        for n_ctx in (10, 128):
            found = load_prompts(smollm2_like, "bundled", n_ctx=n_ctx, at_most=10**6, at_least=2, seed=0)
            assert found.tokens.min() >= 17

    def test_enough_for_the_presets(self, smollm2_like: LoadedModel):
        found = load_prompts(smollm2_like, "bundled", n_ctx=10, at_most=3000, at_least=3000, seed=0)
        assert len(found.tokens) == 3000

    def test_another_vocabulary_is_refused(self, tiny: LoadedModel):
        message = refusal(tiny, "bundled")
        assert "49152 entries" in message
        assert "has 200" in message
        assert "'sampled' or to a text file" in message

    def test_more_tokens_than_there_are(self, smollm2_like: LoadedModel):
        assert "at most 128 tokens, prompts.n_ctx=129" in refusal(smollm2_like, "bundled", n_ctx=129)

    def test_more_prompts_than_there_are(self, smollm2_like: LoadedModel):
        message = refusal(smollm2_like, "bundled", n_ctx=10, at_most=10**6, at_least=10**6)
        assert "but 1000000 are needed; use fewer pairs" in message


class TestTextFile:
    def write(self, tmp_path: Path, *lines: str) -> Path:
        path = tmp_path / "prompts.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def test_first_tokens_of_each_line_without_bos(
        self, tiny: LoadedModel, tmp_path: Path, sentences: tuple[str, ...]
    ):
        path = self.write(tmp_path, *sentences)
        found = load_prompts(tiny, str(path), n_ctx=5, at_most=100, at_least=2, seed=0)
        wanted = [tiny.tokenizer.encode(line, add_special_tokens=False)[:5] for line in sentences]
        distinct = list(dict.fromkeys(map(tuple, wanted)))
        assert [tuple(row) for row in found.tokens.tolist()] == distinct
        assert all(any(line.startswith(text) for line in sentences) for text in found.text), (
            "each prompt's text is the beginning of a line"
        )
        assert found.provenance["sha256"] == sha256(path.read_bytes()).hexdigest()
        assert found.provenance["lines"] == len(sentences)
        assert not (found.tokens == tiny.model.config.bos_token_id).any()

    def test_duplicates_and_blank_lines_are_left_out(self, tiny: LoadedModel, tmp_path: Path):
        one, two = "The old bridge was built of stone", "A small engine pulled the wagons"
        path = self.write(tmp_path, one, "", two, "   ", one, one + " and clay", two)
        found = load_prompts(tiny, str(path), n_ctx=5, at_most=100, at_least=2, seed=0)
        assert len(found.tokens) == 2
        assert one.startswith(found.text[0])
        assert two.startswith(found.text[1])

    def test_at_most(self, tiny: LoadedModel, tmp_path: Path, sentences: tuple[str, ...]):
        path = self.write(tmp_path, *sentences)
        some = load_prompts(tiny, str(path), n_ctx=5, at_most=3, at_least=2, seed=0)
        every = load_prompts(tiny, str(path), n_ctx=5, at_most=100, at_least=2, seed=0)
        assert some.tokens.tolist() == every.tokens[:3].tolist()

    def test_too_few_and_too_short(self, tiny: LoadedModel, tmp_path: Path, sentences: tuple[str, ...]):
        path = self.write(tmp_path, "a", "b c", sentences[0])
        message = refusal(tiny, str(path), n_ctx=9, at_least=4)
        assert "gives 1 distinct prompts of 9 tokens (3 lines, 1 of them at least that long)" in message
        assert "but 4 are needed" in message

    def test_an_empty_file(self, tiny: LoadedModel, tmp_path: Path):
        path = tmp_path / "empty.txt"
        path.write_bytes(b"")
        assert "gives 0 distinct prompts" in refusal(tiny, str(path))

    def test_not_utf_8(self, tiny: LoadedModel, tmp_path: Path):
        path = tmp_path / "latin.txt"
        path.write_bytes("Gr\u00fc\u00dfe aus dem Hafen\n".encode("latin-1"))
        assert "is not UTF-8 text: invalid" in refusal(tiny, str(path))

    def test_a_model_without_a_tokenizer(self, smollm2_like: LoadedModel, tmp_path: Path):
        path = self.write(tmp_path, "one", "two")
        assert "has no tokenizer, which a text file needs" in refusal(smollm2_like, str(path))

    @pytest.mark.parametrize("source", ["smapled", "no/such/file.txt"])
    def test_no_such_source(self, tiny: LoadedModel, source: str):
        message = refusal(tiny, source)
        assert f"no prompts at {source!r}: not a file, and not one of bundled, sampled" in message
        assert ("did you mean 'sampled'?" in message) == (source == "smapled")


class TestSampled:
    def load(self, tiny: LoadedModel, *, seed: int = 0, n: int = 60, n_ctx: int = 6) -> np.ndarray:
        return load_prompts(tiny, "sampled", n_ctx=n_ctx, at_most=n, at_least=n, seed=seed).tokens

    def test_distinct_and_without_special_tokens(self, tiny: LoadedModel):
        found = self.load(tiny)
        assert found.shape == (60, 6)
        assert len({tuple(row) for row in found.tolist()}) == 60
        assert not np.isin(found, tiny.tokenizer.all_special_ids).any()

    def test_the_seed_decides(self, tiny: LoadedModel):
        torch.manual_seed(123)
        one = self.load(tiny, seed=3)
        np.random.seed(9)  # noqa: NPY002  (no global generator may matter)
        torch.manual_seed(321)
        assert np.array_equal(one, self.load(tiny, seed=3))
        assert not np.array_equal(one, self.load(tiny, seed=4))

    def test_no_global_generator_is_touched(self, tiny: LoadedModel):
        torch.manual_seed(7)
        wanted = torch.rand(3)
        torch.manual_seed(7)
        self.load(tiny)
        assert torch.equal(torch.rand(3), wanted)

    def test_they_are_the_models_own_distribution(self, make_tiny_model: Callable[..., Any]):
        # The first token after the start token, against the model's own probabilities, at temperature 1.
        model = make_tiny_model("llama", vocab_size=12)
        n = 4000
        documents = sample_documents(
            model, n_documents=n, n_tokens=1, start_token=1, special_ids=[0, 1], seed=0
        )
        with torch.no_grad():
            p = model(torch.tensor([[1]])).logits[0, -1].double().softmax(-1).numpy()
        kept = np.concatenate(documents)
        assert abs(len(kept) / n - (1 - p[0] - p[1])) < 4 * np.sqrt(0.25 / n)
        counts = np.bincount(kept, minlength=12)
        expected = n * p
        chi_square = ((counts - expected)[2:] ** 2 / expected[2:]).sum()
        assert chi_square < 9 + 5 * np.sqrt(2 * 9)  # 10 classes: mean 9, five standard deviations
        uniform = n * np.full(12, 1 / 12)
        assert ((counts - uniform)[2:] ** 2 / uniform[2:]).sum() > 100

    def test_tokens_depend_on_those_before(self, make_tiny_model: Callable[..., Any]):
        model = make_tiny_model("llama", vocab_size=12)
        documents = sample_documents(
            model, n_documents=3000, n_tokens=2, start_token=1, special_ids=[], seed=1
        )
        pairs = np.stack(documents)
        first = np.bincount(pairs[:, 0]).argmax()
        second = pairs[pairs[:, 0] == first, 1]
        with torch.no_grad():
            p = model(torch.tensor([[1, first]])).logits[0, -1].double().softmax(-1).numpy()
        share = np.bincount(second, minlength=12) / len(second)
        assert np.abs(share - p).max() < 5 * np.sqrt(0.25 / len(second))

    def test_too_many_tokens_for_the_model(self, tiny: LoadedModel):
        with pytest.raises(PlateauLensError, match="n_ctx=160 and the start token need 161 positions"):
            load_prompts(tiny, "sampled", n_ctx=160, at_most=5, at_least=2, seed=0)

    def test_more_than_the_model_can_write(self, make_tiny_model: Callable[..., Any]):
        model = make_tiny_model("llama", vocab_size=4)
        with pytest.raises(
            PlateauLensError, match=r"asked for 50 distinct windows of 2 tokens.*the model gave 4 and"
        ):
            sample_windows(model, n_windows=50, n_ctx=2, start_token=1, special_ids=[0, 1], seed=0, batch=32)

    def test_windows_that_are_not_accepted_are_left_out(self, tiny: LoadedModel):
        found = sample_windows(
            tiny.model,
            n_windows=20,
            n_ctx=4,
            start_token=0,
            special_ids=[0],
            seed=0,
            accept=lambda window: window[0] % 2 == 0,
        )
        assert (found[:, 0] % 2 == 0).all()

    @pytest.mark.parametrize("name", ["n_windows", "n_ctx", "windows_per_document"])
    def test_counts_below_one(self, tiny: LoadedModel, name: str):
        arguments = {"n_windows": 3, "n_ctx": 3, "windows_per_document": 1, name: 0}
        with pytest.raises(PlateauLensError, match=f"must be at least 1: {name}=0"):
            sample_windows(tiny.model, start_token=0, special_ids=[0], seed=0, **arguments)

    def test_the_model_keeps_its_mode(self, tiny: LoadedModel):
        self.load(tiny, n=3)
        assert tiny.model.training is False


class TestStartToken:
    def loaded(self, tokenizer: Any, **ids: Any) -> LoadedModel:
        from transformers import LlamaConfig

        config = LlamaConfig(vocab_size=50, **{"bos_token_id": None, "eos_token_id": None, **ids})
        return LoadedModel(SimpleNamespace(config=config), tokenizer, "here", None, None)

    def test_end_of_text_by_name(self, tiny: LoadedModel):
        start, special = start_token(tiny)
        assert start == tiny.tokenizer.convert_tokens_to_ids("<|endoftext|>") == 0
        assert start in special

    @pytest.mark.parametrize(
        ("ids", "wanted"),
        [
            ({"bos_token_id": 7, "eos_token_id": 8}, 7),
            ({"eos_token_id": 8}, 8),
            ({"eos_token_id": [9, 8]}, 9),
            ({"bos_token_id": 50, "eos_token_id": 3}, 3),  # beyond the vocabulary
            ({}, 0),
        ],
    )
    def test_without_a_tokenizer(self, ids: dict[str, Any], wanted: int):
        start, special = start_token(self.loaded(None, **ids))
        assert start == wanted
        assert wanted in special

    def test_the_start_token_is_never_text(self):
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        # Here the vocabulary holds it as an ordinary entry.
        words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<|endoftext|>": 2}, unk_token="a"))
        start, special = start_token(self.loaded(PreTrainedTokenizerFast(tokenizer_object=words)))
        assert start == 2
        assert 2 in special


def test_token_ids_beyond_the_embedding_are_refused(tiny: LoadedModel, tmp_path: Path):
    tokenizer = copy.deepcopy(tiny.tokenizer)
    assert tokenizer.add_tokens(["zebra"]) == 1
    first_new = tokenizer.convert_tokens_to_ids("zebra")
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(f"the {word} zebra {word} on the road home" for word in ("cat", "dog", "old")))
    found = refusal(dataclasses.replace(tiny, tokenizer=tokenizer), str(path))
    assert f"to {first_new}, but " in found
    assert f"embeddings of 0 to {first_new - 1}; its tokenizer" in found
