"""The work that is timed: straight paths of 101 points from each pair's base, and how a run measures them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens.models.parallel import Prefix
from plateau_lens.models.suffix import SuffixEngine


@dataclass(frozen=True)
class Paths:
    """Paths of several kinds from the same bases, which share one prefix a pair."""

    tokens: Int[Tensor, "pair pos"]
    points: Float[Tensor, "kind pair step d_model"]

    @property
    def n_ctx(self) -> int:
        """Tokens a prompt."""
        return self.tokens.shape[1]

    @property
    def curves(self) -> int:
        """Kinds times pairs."""
        return self.points.shape[0] * self.points.shape[1]


def random_paths(
    engine: SuffixEngine, *, n_ctx: int, pairs: int, kinds: int, n_steps: int, seed: int = 0
) -> Paths:
    """Prompts of random tokens; the path of kind ``k`` leads to the activation of the prompt ``k + 1`` on.

    What the activations are makes no difference to the time that a path takes.
    """
    generator = torch.Generator().manual_seed(seed)
    vocab = engine.model.config.get_text_config().vocab_size
    tokens = torch.randint(min(20, vocab // 2), vocab, (pairs, n_ctx), generator=generator)
    tokens = tokens.to(engine.device)
    base = engine.site_activations(tokens)
    target = torch.stack([base.roll(kind + 1, dims=0) for kind in range(kinds)])
    fraction = torch.linspace(0, 1, n_steps + 1, dtype=base.dtype, device=base.device)
    points = base[:, None] + fraction[:, None] * (target - base)[:, :, None]
    return Paths(tokens, points)


class Ours:
    """The suffix engine on some paths, as a run uses it: `prefix` once, then `curves`, kind by kind."""

    def __init__(self, engine: SuffixEngine, paths: Paths, responses: tuple[str, ...] = ("l2", "kl")):
        self.engine = engine
        self.paths = paths
        self.responses = responses
        self._prefix: Prefix | None = None

    def prefix(self) -> None:
        """Run every prompt's prefix; kept until `curves`."""
        self._prefix = self.engine.prefix(self.paths.tokens)

    def curves(self) -> None:
        """Measure every path."""
        assert self._prefix is not None
        for points in self.paths.points:
            self.engine.respond(self._prefix, points, self.responses)
        self._prefix = None

    def first(self) -> dict[str, Float[Tensor, " step"]]:
        """The first pair's first curve."""
        one = self.engine.prefix(self.paths.tokens[:1])
        found = self.engine.respond(one, self.paths.points[0, :1], self.responses)
        return {name: values[0] for name, values in found.items()}
