"""Parallel steps: the points of a path as tokens of one forward pass, behind a prefix that is run once.

The points of a pair are that many tokens *at the same position id*, each attending to the prefix and to itself only.
Blocks before the site are skipped, and the pass ends with the last block that anybody reads.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plateau_lens._errors import ConfigError, EngineError
from plateau_lens.models import fused, interventions
from plateau_lens.models.attention import attending_to
from plateau_lens.models.memory import in_pieces, rows_a_pass
from plateau_lens.models.prefix import FrozenPrefix, PassOverPrefix
from plateau_lens.models.products import Products
from plateau_lens.models.sites import Site, decoder_blocks
from plateau_lens.models.snapshot import Snapshot
from plateau_lens.models.stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Prefix:
    """Everything the engine needs of a batch of prompts."""

    last_token: Int[Tensor, " pair"]
    cache: FrozenPrefix
    n_ctx: int
    made_of: Snapshot | None = None
    """What the model was like."""
    entering: Float[Tensor, "pair d_model"] | None = None
    """The last token's stream before the first block that is run; for sites that are not of the stream."""

    def __len__(self) -> int:
        return len(self.last_token)

    def rows(self, pairs: slice) -> Prefix:
        """The same for some of the pairs."""
        entering = None if self.entering is None else self.entering[pairs]
        return Prefix(self.last_token[pairs], self.cache.rows(pairs), self.n_ctx, self.made_of, entering)


class Seen(NamedTuple):
    """What one pass read of every point, as wide as the model computes."""

    states: dict[Site, Float[Tensor, "pair step d_model"]]
    """What is at each read site."""
    final: Float[Tensor, "pair step d_model"] | None
    """The last states, behind the final norm; None where they were not asked for."""


class ParallelSteps:
    """Runs a decoder over prompts, over their prefixes, and from a site onward over many points at once.

    Args:
        model: the model; it is left as it is after every pass.
        site: where the residual stream is pushed.
        products: how products with the weights are computed.
        max_rows: points a forward pass; None: as free memory allows.
    """

    def __init__(self, model: PreTrainedModel, site: Site, products: Products, max_rows: int | None = None):
        self.model = model
        self.blocks = decoder_blocks(model)
        self.decoder = interventions.decoder_of(model, self.blocks)
        self.site = site
        self.stream = Stream(type(model).__name__, self.blocks)
        self.products = products
        self.returns_tuple = False
        """Whether a block returns its output as the first of several things."""
        self.own_attention = False
        """Whether the model brings its own attention and gets a plain mask instead of ours."""
        self.d_model: int = model.config.get_text_config().hidden_size
        self._widest = max(
            max(weight.shape[-2:]) for weight in self.blocks[0].parameters() if weight.dim() > 1
        )
        self._activations = fused.spelled_out(model)
        self._max_rows = max_rows

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def whole(
        self, tokens: Int[Tensor, "prompt pos"], *, by: nn.Module | None = None, **arguments: Any
    ) -> Any:
        """The decoder, or the model if it is to be run ``by`` that, over whole prompts, with its own attention."""
        arguments.setdefault("use_cache", False)
        with fused.fused(self._activations), self.products.computing():
            return (by or self.decoder)(input_ids=tokens, attention_mask=torch.ones_like(tokens), **arguments)

    def site_activations(self, tokens: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt d_model"]:
        """Last-token activations at the site, float32 or wider; later blocks are not run."""
        return self._last_token(self.site, tokens)

    def _last_token(self, site: Site, tokens: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt d_model"]:
        self._refuse_prompts(tokens)
        tokens = tokens.to(self.device)

        def read(prompts: slice) -> Tensor:
            with (
                self.stream.read(site, position=-1, stop=True) as firings,
                interventions.stoppable(),
            ):
                self.whole(tokens[prompts])
            found = firings.required(f"reading {site}")
            # Whatever the model computes in, activations are compared and mixed in float32 at least.
            return found.to(torch.promote_types(found.dtype, torch.float32))

        return torch.cat([*in_pieces(len(tokens), self.prompts_a_pass(tokens.shape[1]), read)])

    def prefix(self, tokens: Int[Tensor, "pair pos"]) -> Prefix:
        """Run everything before the last token once and keep its keys and values."""
        self._refuse_prompts(tokens)
        n_ctx = tokens.shape[1]
        if n_ctx < 2:
            raise ConfigError(
                f"prompts have {n_ctx} token; the engine needs at least 2 (a prefix and the site)"
            )
        tokens = tokens.to(self.device)
        frozen = FrozenPrefix(
            len(tokens),
            n_ctx - 1,
            n_blocks=len(self.blocks),
            first_block=self.site.boundary,
            joined=self.own_attention,
            dtype=self.products.dtype,
        )

        def run(prompts: slice) -> None:
            with interventions.stoppable():
                self.whole(
                    tokens[prompts, :-1], past_key_values=PassOverPrefix(frozen, prompts), use_cache=True
                )

        if self.site.boundary < len(self.blocks):  # behind the last block nothing attends to a prefix
            for _ in in_pieces(len(tokens), self.prompts_a_pass(n_ctx), run):
                pass
        entering = None
        if not self.site.of_stream:
            entering = self._last_token(Site(self.site.block, "hook_resid_pre"), tokens)
        return Prefix(tokens[:, -1], frozen, n_ctx, entering=entering)

    def run(
        self,
        prefix: Prefix,
        points: Float[Tensor, "pair step d_model"],
        *,
        read: Collection[Site],
        final: bool,
    ) -> Seen:
        """Push every point and read what comes of it, all sites in one pass.

        Steps are independent: those of a single pair are cut into as many passes as memory asks for.

        Args:
            prefix: of the same pairs.
            points: what the site's last token is set to.
            read: read sites behind the site, each once.
            final: whether the final states are needed; without, the pass ends at the furthest read site.

        Raises:
            EngineError: if a hook or an attention did not run as often as it should.
            ResourceError: if there is not memory enough for one step.
        """
        if len(prefix) > 1:
            return self._pass(prefix, points, read=read, final=final)
        parts = [
            *in_pieces(
                points.shape[1],
                self.rows_a_pass(prefix.n_ctx),
                lambda steps: self._pass(prefix, points[:, steps], read=read, final=final),
            )
        ]
        if len(parts) == 1:
            return parts[0]
        states = {site: torch.cat([part.states[site] for part in parts], dim=1) for site in read}
        ends = [part.final for part in parts if part.final is not None]
        return Seen(states, torch.cat(ends, dim=1) if ends else None)

    def _pass(
        self,
        prefix: Prefix,
        points: Float[Tensor, "pair step d_model"],
        *,
        read: Collection[Site],
        final: bool,
    ) -> Seen:
        """One forward pass of `run`."""
        steps = points.shape[1]
        first = self.site.boundary
        points = points.to(device=self.device, dtype=self.products.dtype)
        # Blocks that run: all of one that is read within.
        end = max(site.boundary + site.within for site in read) if read and not final else len(self.blocks)
        result: Any = None
        with ExitStack() as stack:
            stack.enter_context(
                interventions.skipped(list(self.blocks)[:first], returns_tuple=self.returns_tuple)
            )
            pushed = stack.enter_context(self.stream.entered(self.site, points, prefix.entering))
            readings = {site: stack.enter_context(self.stream.read_behind(site)) for site in read}
            if not final and read:
                stack.enter_context(interventions.ending(self.blocks[end - 1]))
            arguments: dict[str, Any] = {"past_key_values": prefix.cache, "use_cache": True}
            if self.own_attention:
                arguments["attention_mask"] = self._mask(prefix, steps, points)
            else:
                stack.enter_context(attending_to(self.decoder, prefix.cache))
            ids = prefix.last_token[:, None].expand(-1, steps)
            positions = torch.full_like(ids, prefix.n_ctx - 1)
            before = prefix.cache.attended
            stack.enter_context(fused.fused(self._activations))
            with self.products.computing(), interventions.stoppable():
                result = self.decoder(input_ids=ids, position_ids=positions, **arguments)
        for firings in pushed:
            firings.require(f"pushing at {self.site}")
        attended = prefix.cache.attended - before
        states = {site: reading.required(f"reading {site}") for site, reading in readings.items()}
        if not self.own_attention and attended != end - first:
            raise EngineError(
                f"attention over parallel steps ran {attended} times for {end - first} blocks of "
                f"{type(self.model).__name__}; this architecture cannot be driven"
            )
        return Seen(states, result.last_hidden_state if final else None)

    def rows_a_pass(self, n_ctx: int) -> int:
        """Points of one pass over prompts of ``n_ctx`` tokens."""
        if self._max_rows is not None:
            return self._max_rows
        config = self.model.config.get_text_config()
        # Of one row: what the widest layer makes, in and out of its activation function, the stream and its
        # norms, and the scores of one block.
        elements = 4 * self._widest + 8 * self.d_model + 3 * getattr(config, "num_attention_heads", 1) * n_ctx
        return rows_a_pass(self.device, elements * self.model.dtype.itemsize)

    def prompts_a_pass(self, n_ctx: int) -> int:
        """Whole prompts of ``n_ctx`` tokens of one pass."""
        return max(1, self.rows_a_pass(n_ctx) // n_ctx)

    def _mask(self, prefix: Prefix, steps: int, like: Tensor) -> Float[Tensor, "1 1 step key"]:
        """Additive mask for models with an attention of their own: the prefix and the diagonal."""
        lowest = torch.finfo(like.dtype).min
        mask = torch.full((steps, prefix.cache.length + steps), lowest, dtype=like.dtype, device=like.device)
        mask[:, : prefix.cache.length] = 0
        mask.diagonal(prefix.cache.length).zero_()
        return mask[None, None].expand(len(prefix), 1, -1, -1)

    def _refuse_prompts(self, tokens: Tensor) -> None:
        if tokens.dim() != 2 or not len(tokens):
            raise ConfigError(
                f"tokens are {tuple(tokens.shape)}; pass (prompts, positions), one prompt at least"
            )
        n_ctx = tokens.shape[1]
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if isinstance(longest, int) and 0 < longest < n_ctx:
            raise ConfigError(
                f"prompts have {n_ctx} tokens, but {type(self.model).__name__} has {longest} positions; "
                "use a smaller prompts.n_ctx"
            )
