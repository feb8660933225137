"""The suffix engine: all steps of a curve are parallel tokens of one forward pass.

Only the last token changes, and only from the site on. So the prompt's prefix is run once and its keys and
values kept; then the ``n_steps + 1`` perturbed vectors are fed as that many tokens *at the same position
id*, each attending to the prefix and to itself only. Blocks before the site are skipped.
See ``docs/design/engine.md``.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens._errors import ConfigError, EngineError
from plateau_lens.glossary import Response
from plateau_lens.models import fused, interventions
from plateau_lens.models.centring import centred, resolve_centre
from plateau_lens.models.memory import in_pieces, rows_a_pass
from plateau_lens.models.prefix import FrozenPrefix, PassOverPrefix, attending_to, step_attention
from plateau_lens.models.products import Matmul, Products
from plateau_lens.models.refusals import refusal
from plateau_lens.models.responses import js_response, kl_response, l2_response
from plateau_lens.models.sites import Site, decoder_blocks
from plateau_lens.models.unembedding import Unembedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "plateau_lens_steps"
"""Name under which `step_attention` is registered with transformers."""


LEARNING_TOKENS = 8
"""Length of the prompt that a new engine tries a model on."""
LOGITS_ELEMENTS = 5_000_000
"""Logits held at once where they are needed whole."""
LEARNING_LIMIT = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Largest relative difference between a step among others and alone; softmax may be float32 in float64."""


@dataclass(frozen=True)
class Prefix:
    """Everything the engine needs of a batch of prompts."""

    last_token: Int[Tensor, " pair"]
    cache: FrozenPrefix
    n_ctx: int

    def __len__(self) -> int:
        return len(self.last_token)

    def rows(self, pairs: slice) -> Prefix:
        """The same for some of the pairs."""
        return Prefix(self.last_token[pairs], self.cache.rows(pairs), self.n_ctx)


class SuffixEngine:
    """Runs a decoder from a site onward, for many steps of many pairs at once.

    Args:
        model: any Hugging Face decoder-only causal language model, unmodified.
        site: where the residual stream is pushed, e.g. ``blocks.1.hook_resid_pre``.
        read_site: where L2 is measured; ``auto`` is the last block's ``hook_resid_post``.
        centre: subtract the d_model mean at both sites; ``auto`` for the LayerNorm models that ignore that mean.
        matmul: how products with the weights are computed, see `plateau_lens.models.products`.
        max_rows: points a forward pass; bounds memory, does not change results beyond rounding. None: as free
            memory allows. A pass that runs out of memory is halved and tried again.

    Raises:
        ConfigError: for a site this model does not have, or a read site that is not behind the site.
        EngineError: for a model that cannot be driven this way.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        site: str = "blocks.1.hook_resid_pre",
        read_site: str = "auto",
        *,
        centre: bool | str = "auto",
        matmul: Matmul = "full",
        max_rows: int | None = None,
    ):
        self.model = model
        self.blocks = decoder_blocks(model)
        n_blocks = len(self.blocks)
        self.site = Site.parse(site, n_blocks=n_blocks)
        last = f"blocks.{n_blocks - 1}.hook_resid_post"
        self.read_site = Site.parse(last if read_site == "auto" else read_site, n_blocks=n_blocks)
        if self.read_site.boundary <= self.site.boundary:
            raise ConfigError(
                f"read site {self.read_site} is not behind the site {self.site}; legal: up to {last}"
            )
        self.centre = resolve_centre(model, centre)
        self.d_model: int = model.config.get_text_config().hidden_size
        self._widest = max(
            max(weight.shape[-2:]) for weight in self.blocks[0].parameters() if weight.dim() > 1
        )
        self._products = Products(model)
        self._activations = fused.spelled_out(model)
        self._max_rows = max_rows
        self._decoder = interventions.decoder_of(model, self.blocks)
        self._unembedding = Unembedding(model, self._decoder)
        self._returns_tuple = False
        self.own_attention = False
        """True for models that bring their own attention and get a plain mask instead of ours."""
        self._proven: set[tuple[int, int]] = set()
        """Lengths of prompt and path that parallel steps were tried on."""
        self._learn(centre)
        self._products = Products(model, matmul)

    # -- what callers use ---------------------------------------------------------------------------------

    @torch.no_grad()
    def site_activations(self, tokens: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt d_model"]:
        """Last-token activations at the site, centred if the engine centres; later blocks are not run."""
        self._refuse_long_prompts(tokens.shape[1])
        block = self.blocks[self.site.boundary]
        tokens = tokens.to(self.device)

        def read(prompts: slice) -> Tensor:
            with (
                interventions.read_input(block, position=-1, stop=True) as firings,
                interventions.stoppable(),
            ):
                self._run(tokens[prompts])
            firings.require(f"reading {self.site}")
            assert firings.seen is not None
            # Whatever the model computes in, activations are compared and mixed in float32 at least.
            wide = torch.promote_types(firings.seen.dtype, torch.float32)
            return centred(firings.seen.to(wide), self.centre)

        return torch.cat([*in_pieces(len(tokens), self._prompts_a_pass(tokens.shape[1]), read)])

    @torch.no_grad()
    def prefix(self, tokens: Int[Tensor, "pair pos"]) -> Prefix:
        """Run everything before the last token once and keep its keys and values.

        Raises:
            ConfigError: for prompts of a single token, which have no prefix.
        """
        n_ctx = tokens.shape[1]
        self._refuse_long_prompts(n_ctx)
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
            dtype=self.model.dtype,
        )

        def run(prompts: slice) -> None:
            with interventions.stoppable():
                self._run(
                    tokens[prompts, :-1], past_key_values=PassOverPrefix(frozen, prompts), use_cache=True
                )

        for _ in in_pieces(len(tokens), self._prompts_a_pass(n_ctx), run):
            pass
        return Prefix(tokens[:, -1], frozen, n_ctx)

    @torch.no_grad()
    def respond(
        self,
        prefix: Prefix,
        points: Float[Tensor, "pair step d_model"],
        responses: Sequence[Response] = ("l2", "kl"),
    ) -> dict[Response, Float[Tensor, "pair step"]]:
        """Responses to each point, relative to point 0 of its pair.

        Args:
            prefix: of the same pairs, in the same order.
            points: what the site's last token is set to; point 0 is the unperturbed base.
            responses: which of ``l2``, ``kl``, ``js``; without ``kl`` and ``js`` no unembedding is computed.

        Returns:
            float64 tensors, one a response; 0 at step 0.
        """
        self._prove(prefix.n_ctx, points.shape[1])
        if points.shape[0] != len(prefix) or points.shape[-1] != self.d_model:
            raise ConfigError(
                f"points are {tuple(points.shape)} but the prefix has {len(prefix)} pairs and "
                f"{type(self.model).__name__} has d_model={self.d_model}; "
                f"pass ({len(prefix)}, steps, {self.d_model})"
            )
        linear = self._unembedding.linear and "js" not in responses

        def measure(pairs: slice) -> dict[Response, Tensor]:
            read_out, final = self._suffix(
                prefix.rows(pairs), points[pairs], need_final=set(responses) != {"l2"}
            )
            part: dict[Response, Tensor] = {}
            if "l2" in responses:
                part["l2"] = l2_response(centred(read_out, self.centre))
            if final is not None and linear:
                part["kl"] = self._unembedding.kl(final, self._products)
            elif final is not None:
                part.update(self._divergences(final, responses))
            return part

        pairs_a_pass = max(1, self._rows_a_pass(prefix.n_ctx) // points.shape[1])
        parts = [*in_pieces(len(prefix), pairs_a_pass, measure)]
        return {name: torch.cat([part[name] for part in parts]) for name in responses}

    @torch.no_grad()
    def logits(
        self, prefix: Prefix, points: Float[Tensor, "pair step d_model"]
    ) -> Float[Tensor, "pair step vocab"]:
        """Next-token logits of each point, float32 or wider. For a few points: nothing is blocked here."""
        _, final = self._suffix(prefix, points, need_final=True)
        assert final is not None
        return self._unembedding.logits(final)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    # -- how it is done -----------------------------------------------------------------------------------

    def _suffix(
        self, prefix: Prefix, points: Tensor, *, need_final: bool
    ) -> tuple[Float[Tensor, "pair step d_model"], Float[Tensor, "pair step d_model"] | None]:
        """Read-site states and, if needed, final (normed) hidden states of every point."""
        steps = points.shape[1]
        first = self.site.boundary
        read_block = self.blocks[self.read_site.boundary - 1]
        points = points.to(device=self.device, dtype=self.model.dtype)
        n_suffix = (len(self.blocks) if need_final else self.read_site.boundary) - first
        result: Any = None
        with ExitStack() as stack:
            stack.enter_context(
                interventions.skipped(list(self.blocks)[:first], returns_tuple=self._returns_tuple)
            )
            pushed = stack.enter_context(interventions.replaced_input(self.blocks[first], points))
            read = stack.enter_context(interventions.read_output(read_block, stop=not need_final))
            arguments: dict[str, Any] = {"past_key_values": prefix.cache, "use_cache": True}
            if self.own_attention:
                arguments["attention_mask"] = self._mask(prefix, steps, points)
            else:
                stack.enter_context(self._step_attention(prefix.cache))
            ids = prefix.last_token[:, None].expand(-1, steps)
            positions = torch.full_like(ids, prefix.n_ctx - 1)
            before = prefix.cache.attended
            stack.enter_context(fused.fused(self._activations))
            with self._products.computing(), interventions.stoppable():
                result = self._decoder(input_ids=ids, position_ids=positions, **arguments)
        pushed.require(f"pushing at {self.site}")
        read.require(f"reading {self.read_site}")
        attended = prefix.cache.attended - before
        if not self.own_attention and attended != n_suffix:
            raise EngineError(
                f"attention over parallel steps ran {attended} times for {n_suffix} blocks of "
                f"{type(self.model).__name__}; this architecture cannot be driven"
            )
        assert read.seen is not None
        return read.seen, result.last_hidden_state if need_final else None

    def _divergences(self, final: Tensor, responses: Sequence[Response]) -> dict[Response, Tensor]:
        """KL and JS from whole logits, a few pairs at a time."""
        vocab = self.model.config.get_text_config().vocab_size
        pairs_a_block = max(1, LOGITS_ELEMENTS // (final.shape[1] * vocab))
        measures = {"kl": kl_response, "js": js_response}
        found: dict[Response, list[Tensor]] = {name: [] for name in responses if name in measures}
        for block in final.split(pairs_a_block):
            logits = self._unembedding.logits(block)
            for name, values in found.items():
                values.append(measures[name](logits))
        return {name: torch.cat(values) for name, values in found.items()}

    def _rows_a_pass(self, n_ctx: int) -> int:
        """Points of one pass over prompts of ``n_ctx`` tokens."""
        if self._max_rows is not None:
            return self._max_rows
        config = self.model.config.get_text_config()
        # Of one row: what the widest layer makes, in and out of its activation function, the stream and its
        # norms, and the scores of one block.
        elements = 4 * self._widest + 8 * self.d_model + 3 * getattr(config, "num_attention_heads", 1) * n_ctx
        return rows_a_pass(self.device, elements * self.model.dtype.itemsize)

    def _prompts_a_pass(self, n_ctx: int) -> int:
        return max(1, self._rows_a_pass(n_ctx) // n_ctx)

    @contextmanager
    def _step_attention(self, prefix: FrozenPrefix) -> Generator[None]:
        from transformers import AttentionInterface

        AttentionInterface.register(ATTENTION, step_attention)
        before: str = getattr(self.model.config, "_attn_implementation")  # noqa: B009 - it has no public name
        self.model.set_attn_implementation(ATTENTION)
        try:
            with attending_to(prefix):
                yield
        finally:
            self.model.set_attn_implementation(before)

    def _mask(self, prefix: Prefix, steps: int, like: Tensor) -> Float[Tensor, "1 1 step key"]:
        """Additive mask for models with an attention of their own: the prefix and the diagonal."""
        lowest = torch.finfo(like.dtype).min
        mask = torch.full((steps, prefix.cache.length + steps), lowest, dtype=like.dtype, device=like.device)
        mask[:, : prefix.cache.length] = 0
        mask.diagonal(prefix.cache.length).zero_()
        return mask[None, None].expand(len(prefix), 1, -1, -1)

    def _run(self, tokens: Tensor, **arguments: Any) -> Any:
        """The decoder over whole prompts, with the model's own attention."""
        arguments.setdefault("use_cache", False)
        with fused.fused(self._activations), self._products.computing():
            return self._decoder(input_ids=tokens, attention_mask=torch.ones_like(tokens), **arguments)

    @torch.no_grad()
    def _learn(self, asked: bool | str) -> None:
        """Find out, on a few tokens, what blocks and decoder return and which attention gives the model's result."""
        from plateau_lens.models.quiet import quiet

        tuples: list[bool] = []
        handle = self.blocks[0].register_forward_hook(lambda *a: tuples.append(isinstance(a[2], tuple)))
        tokens = torch.arange(1, LEARNING_TOKENS + 1, device=self.device)[None]
        name = type(self.model).__name__
        with quiet():
            try:
                self._unembedding.learn(self._run(tokens))
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
                raise EngineError(f"{name} does not run as a causal decoder of token ids: {error}") from error
            finally:
                handle.remove()
            self._returns_tuple = tuples[0]
            base = self.site_activations(tokens)
            points, alone = self._unlike_steps(tokens, base)
            self._learn_centring(tokens, base, alone[:1], asked=asked)
            for self.own_attention in (False, True):
                if self._agrees(tokens, points, alone):
                    self._proven.add((LEARNING_TOKENS, points.shape[1]))
                    return
        reason = refusal(self.model, self._decoder, base)
        raise EngineError(f"{name} cannot be driven from {self.site} on: {reason}")

    def _learn_centring(self, tokens: Tensor, base: Tensor, plain: Tensor, *, asked: bool | str) -> None:
        """Centre only a model that computes the same from a mean-free stream: not, say, a post-norm one."""
        if not self.centre:
            return
        # A mean that the prompt at hand may not have: what it does has to be nothing.
        shifted = self._alone(tokens, base + base.abs().mean())
        error = (centred(shifted, True) - centred(plain, True)).abs().max()
        if error <= LEARNING_LIMIT.get(self.model.dtype, 0.1) * plain.abs().max():
            return
        if asked is True:
            raise EngineError(
                f"centre=True, but {type(self.model).__name__} computes something else from a mean-free residual "
                "stream (its norms do not all subtract the mean first); use centre='auto' or False"
            )
        self.centre = False

    @torch.no_grad()
    def _prove(self, n_ctx: int, steps: int) -> None:
        """Refuse prompts on which parallel steps go wrong though shorter ones came out right: local attention."""
        if (n_ctx, steps) in self._proven:
            return
        vocab = self.model.config.get_text_config().vocab_size
        tokens = (torch.arange(n_ctx, device=self.device) % (vocab - 1) + 1)[None]
        narrow, self._products = self._products, Products(self.model)
        try:
            points, alone = self._unlike_steps(tokens, self.site_activations(tokens))
            which = torch.arange(steps, device=self.device) % points.shape[1]
            agrees = self._agrees(tokens, points[:, which], alone[which])
        finally:
            self._products = narrow
        if not agrees:
            raise EngineError(
                f"{type(self.model).__name__} cannot be driven with prompts of {n_ctx} tokens and {steps} steps: there "
                "parallel steps do not give what the model gives for each step alone, though with shorter prompts they "
                "do (local attention, in windows or chunks that the attention function is not told of); use shorter "
                "prompts or fewer steps"
            )
        self._proven.add((n_ctx, steps))

    def _unlike_steps(self, tokens: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """Three points [1, step, d_model] and what the model gives for each alone [step, d_model].

        They are unlike one another: a step that sees another one, or another position, gives itself away.
        """
        points = torch.stack([base, 2 * base, -base.roll(1, dims=-1)], dim=1)
        return points, torch.cat([self._alone(tokens, points[:, step]) for step in range(points.shape[1])])

    def _alone(self, tokens: Tensor, point: Float[Tensor, "1 d_model"]) -> Float[Tensor, "1 d_model"]:
        """Read-site state of one step as a whole prompt through the whole model."""
        pushed = point.to(self.model.dtype)
        block, read_block = self.blocks[self.site.boundary], self.blocks[self.read_site.boundary - 1]
        with (
            interventions.replaced_input(block, pushed, position=-1),
            interventions.read_output(read_block, position=-1, stop=True) as read,
            interventions.stoppable(),
        ):
            self._run(tokens)
        read.require(f"reading {self.read_site}")
        assert read.seen is not None
        return read.seen

    def _agrees(self, tokens: Tensor, points: Tensor, alone: Float[Tensor, "step d_model"]) -> bool:
        """Whether parallel steps run, and give each what it has alone."""
        try:
            together = self._suffix(self.prefix(tokens), points, need_final=True)[0][0]
        except torch.OutOfMemoryError:
            raise
        except (EngineError, RuntimeError, ValueError, TypeError, LookupError, AttributeError):
            return False
        error = (together - alone).abs().max() / alone.abs().max()
        return bool(error <= LEARNING_LIMIT.get(self.model.dtype, 0.1))

    def _refuse_long_prompts(self, n_ctx: int) -> None:
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if isinstance(longest, int) and 0 < longest < n_ctx:
            raise ConfigError(
                f"prompts have {n_ctx} tokens, but {type(self.model).__name__} has {longest} positions; "
                "use a smaller prompts.n_ctx"
            )
