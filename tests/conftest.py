"""Fixtures that every folder of tests uses: tiny random models, a tokenizer, SAEs and a slow, plain oracle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from scipy.spatial.distance import jensenshannon

from architectures import ARCHITECTURES, REFUSED, VOCAB

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Two processes run the tests (`pytest -n 2`), on machines of two cores; their children inherit this.
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
os.environ["OMP_NUM_THREADS"] = str(THREADS)
torch.set_num_threads(THREADS)

# Executes the shape annotations of the modules whose annotated names all exist at run time.
install_import_hook(
    [
        "plateau_lens.numerics.schedules",
        "plateau_lens.steps.max_slope",
        "plateau_lens.steps.activation_plateau",
        "plateau_lens.steps.chord_area",
        "plateau_lens.steps.non_linearity",
        "plateau_lens.models.attention",
    ],
    "beartype.beartype",
)


def pytest_configure() -> None:
    """Import sae_lens once, quietly: its first import warns and changes filters and logger levels."""
    from plateau_lens.models.quiet import quiet

    with quiet():
        import sae_lens  # noqa: F401


TOKEN_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def build_tiny_model(architecture: str, *, seed: int = 0, **changes: Any) -> Any:
    """A random 4-block model, d_model 32, whose responses are far from trivial."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from plateau_lens.models.quiet import quiet

    row = {**ARCHITECTURES, **REFUSED}[architecture]
    with quiet():
        config = CONFIG_MAPPING[row.model_type](**{**TOKEN_IDS, **row.config, **changes})
        maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = maker.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
            elif "norm" not in name and "ln_" not in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def make_tiny_model() -> Callable[..., Any]:
    """Random tiny models by architecture (see ``architectures.py``); the caller may change what it gets."""
    return build_tiny_model


@pytest.fixture(scope="session")
def blocks_of() -> Callable[[Any, str], Any]:
    """The blocks of a model by the path its architecture keeps them at, not by our own search."""
    return lambda model, architecture: model.get_submodule(ARCHITECTURES[architecture].blocks)


def full_pass(
    model: Any,
    blocks: Any,
    tokens: torch.Tensor,
    points: torch.Tensor,
    *,
    site: int,
    read: int,
    centre: bool,
) -> dict[str, np.ndarray]:
    """What a response is, the slow way and with none of the library's code.

    Every step is its own whole prompt, whose last token is overwritten before block ``site``; the read-out is
    the output of block ``read - 1``. KL by torch's own ``kl_div`` and JS by scipy's, both in float64.
    """
    found: dict[str, list[np.ndarray]] = {"l2": [], "kl": [], "js": []}
    for prompt, pushed in zip(tokens, points, strict=True):
        seen: list[torch.Tensor] = []

        def push(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], pushed: Any = pushed) -> Any:
            hidden = (args[0] if args else kwargs["hidden_states"]).clone()
            hidden[:, -1] = pushed.to(hidden)
            if args:
                return (hidden, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": hidden}

        def keep(_: Any, __: Any, out: Any, seen: list[torch.Tensor] = seen) -> None:
            seen.append((out[0] if isinstance(out, tuple) else out)[:, -1].double())

        handles = [
            blocks[site].register_forward_pre_hook(push, with_kwargs=True),
            blocks[read - 1].register_forward_hook(keep),
        ]
        try:
            with torch.no_grad():
                logits = model(prompt.expand(len(pushed), -1), use_cache=False).logits[:, -1].double()
        finally:
            for handle in handles:
                handle.remove()
        (read_out,) = seen
        if centre:
            read_out = read_out - read_out.mean(dim=-1, keepdim=True)
        log_p = torch.log_softmax(logits, dim=-1)
        kl = [
            torch.nn.functional.kl_div(row, log_p[0], log_target=True, reduction="sum").item()
            for row in log_p
        ]
        p = log_p.exp().numpy()
        found["l2"].append((read_out - read_out[0]).norm(dim=-1).numpy())
        found["kl"].append(np.array(kl))
        found["js"].append(np.array([jensenshannon(p[0], row, base=2) for row in p]))
    return {name: np.stack(curves) for name, curves in found.items()}


@pytest.fixture(scope="session")
def oracle() -> Callable[..., dict[str, np.ndarray]]:
    """`full_pass`: responses by plain forward passes and hooks written here."""
    return full_pass


SENTENCES = (
    "The old lighthouse keeper climbed the stairs every evening before dark.",
    "Rain fell on the harbour while the boats waited for a calmer morning.",
    "She wrote three letters to her brother and never sent a single one.",
    "A small engine pulled the wagons slowly over the hills to the market.",
    "Nobody remembered who had planted the pear trees behind the school.",
    "In winter the river froze and children walked across it to the mill.",
    "The recipe asks for two eggs, a cup of flour and some patience.",
    "He counted the stars until the clouds came, then went back to sleep.",
    "Every library keeps at least one book that no reader has opened.",
    "They argued about the map, although both of them were already lost.",
    "The market sells onions, candles, old clocks and very good bread.",
    "When the bell rings twice, the baker closes the door and goes home.",
    "My neighbour repairs radios and listens to stations far away at night.",
    "Before the bridge was built, a ferry carried people, carts and horses.",
    "The teacher drew a circle on the board and asked what it was not.",
    "A letter arrived with no stamp, no name and a drawing of a whale.",
)


@pytest.fixture(scope="session")
def sentences() -> tuple[str, ...]:
    """Text that the tiny tokenizer was trained on."""
    return SENTENCES


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 4-block Llama, d_model 32, vocabulary 200, saved with a byte-level BPE tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from plateau_lens.models.quiet import quiet

    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<|endoftext|>"], show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    model = build_tiny_model("llama", pad_token_id=None, bos_token_id=0, eos_token_id=0)
    with quiet():
        model.save_pretrained(folder)
        fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tokens() -> torch.Tensor:
    """Random prompts for the tiny models: 2000 of 6 tokens, none of them special."""
    return torch.randint(5, VOCAB, (2000, 6), generator=torch.Generator().manual_seed(11))


@pytest.fixture(scope="session")
def tiny_activations(tiny_model_folder: Path, tiny_tokens: torch.Tensor) -> torch.Tensor:
    """Activations of the tiny model at ``blocks.1.hook_resid_pre``, read through Hugging Face's own output."""
    from transformers import AutoModelForCausalLM

    from plateau_lens.models.quiet import quiet

    with quiet(), torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
        hidden = model(tiny_tokens, output_hidden_states=True).hidden_states
    return hidden[1][:, -1]


D_SAE = 300


@pytest.fixture(scope="session")
def tiny_sae_rates() -> torch.Tensor:
    """Firing frequencies that the latents of the tiny SAE are made to have: 0.8 % to 20 %."""
    generator = torch.Generator().manual_seed(5)
    low, high = torch.tensor(0.008).log(), torch.tensor(0.2).log()
    return (low + (high - low) * torch.rand(D_SAE, generator=generator)).exp()


@pytest.fixture(scope="session")
def tiny_sae_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_activations: torch.Tensor, tiny_sae_rates: torch.Tensor
) -> Path:
    """A random ReLU SAE of 300 latents in SAELens' format, about 12 of them active on an activation."""
    from sae_lens import StandardSAE, StandardSAEConfig

    from plateau_lens.models.quiet import quiet

    with quiet():
        sae = StandardSAE(StandardSAEConfig(d_in=32, d_sae=D_SAE))
    generator = torch.Generator().manual_seed(6)
    directions = torch.nn.functional.normalize(torch.randn(D_SAE, 32, generator=generator), dim=-1)
    centre = tiny_activations.mean(dim=0)
    scores = (tiny_activations - centre) @ directions.T
    thresholds = torch.stack(
        [scores[:, j].quantile(1 - rate) for j, rate in enumerate(tiny_sae_rates.tolist())]
    )
    codes = (scores - thresholds).clamp_min(0)
    # Ridge regression of the activations on the codes: a decoder that reconstructs most of their variance.
    gram = codes.T @ codes + 3.0 * torch.eye(D_SAE)
    with torch.no_grad():
        sae.W_dec.copy_(torch.linalg.solve(gram, codes.T @ (tiny_activations - centre)))
        sae.W_enc.copy_(directions.T)
        sae.b_enc.copy_(-thresholds)
        sae.b_dec.copy_(centre)
    assert 5 <= (codes > 0).sum(dim=-1).float().mean() <= 20
    folder = tmp_path_factory.mktemp("tiny-sae")
    sae.save_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sae_with_sparsity_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_sae_folder: Path, tiny_sae_rates: torch.Tensor
) -> Path:
    """The same SAE with the log10 firing frequencies that SAELens ships; latents 0, 7 and 299 are dead."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny-sae-sparsity") / "sae"
    shutil.copytree(tiny_sae_folder, folder)
    log10 = tiny_sae_rates.log10()
    log10[[0, 7, 299]] = -10.0
    save_file({"sparsity": log10}, folder / "sparsity.safetensors")
    return folder


@pytest.fixture
def edit_json() -> Callable[..., None]:
    """Change some keys of a JSON file."""

    def edit(path: Path, **changes: Any) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit
