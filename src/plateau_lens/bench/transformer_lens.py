"""The same curves by TransformerLens, as its users do it: the 101 full prompts, and hooks."""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens._errors import EngineError
from plateau_lens.models.quiet import quiet
from plateau_lens.models.suffix import SuffixEngine

MOST_LOGITS = 100_000_000
"""TransformerLens makes the logits of every position; this many at once (400 MB) bound the prompts a batch."""


class TransformerLens:
    """The engine's model as a `HookedTransformer`, weights converted by TransformerLens itself.

    Writing weights are centred where the engine centres, and nothing else is processed, so that L2 means the
    same.

    Raises:
        EngineError: for a model that TransformerLens does not know.
    """

    def __init__(self, engine: SuffixEngine):
        self.site, self.read_site = str(engine.site), str(engine.read_site)
        try:
            self.model = _hooked(engine)
        except Exception as error:  # each of its converters fails in a way of its own
            text = " ".join(str(error).split())[:200]
            raise EngineError(
                f"TransformerLens does not take {type(engine.model).__name__}: {type(error).__name__}: {text}"
            ) from error

    @torch.no_grad()
    def responses(
        self, tokens: Int[Tensor, " pos"], points: Float[Tensor, "step d_model"]
    ) -> dict[str, Float[Tensor, " step"]]:
        """L2 and KL of one path: `run_with_hooks` pushes the last position at the site and keeps the read site."""
        rows = max(1, MOST_LOGITS // (len(tokens) * self.model.cfg.d_vocab))
        streams: list[Tensor] = []
        last: list[Tensor] = []
        for pushed in points.split(rows):

            def push(stream: Tensor, hook: Any, pushed: Tensor = pushed) -> Tensor:
                stream[:, -1] = pushed
                return stream

            def keep(stream: Tensor, hook: Any) -> None:
                streams.append(stream[:, -1].clone())

            logits = self.model.run_with_hooks(
                tokens.expand(len(pushed), -1), fwd_hooks=[(self.site, push), (self.read_site, keep)]
            )
            last.append(logits[:, -1].clone())
        stream = torch.cat(streams)
        log_p = torch.cat(last).log_softmax(dim=-1)
        return {
            "l2": (stream - stream[0]).norm(dim=-1),
            "kl": (log_p[0].exp() * (log_p[0] - log_p)).sum(dim=-1),
        }


def _hooked(engine: SuffixEngine) -> Any:
    """Through a folder with the configuration alone: TransformerLens would ask the hub for it otherwise."""
    model = engine.model
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.n_ctx = config.max_position_embeddings  # GPT-2's files on the hub have it under this name, too
    with quiet(), contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
        from transformer_lens import HookedTransformer, loading_from_pretrained

        config.save_pretrained(folder)
        as_theirs = loading_from_pretrained.get_pretrained_model_config(
            folder, device=str(engine.device), dtype=model.dtype
        )
        weights = loading_from_pretrained.get_pretrained_state_dict(
            folder, as_theirs, hf_model=model, dtype=model.dtype
        )
        as_theirs.tokenizer_name = None
        hooked = HookedTransformer(as_theirs)
        hooked.load_and_process_state_dict(
            # Their processing works in place, and some of these are the model's own.
            {name: weight.clone() for name, weight in weights.items()},
            fold_ln=False,
            center_writing_weights=engine.centre,
            center_unembed=False,
            fold_value_biases=False,
        )
    return hooked.eval()
