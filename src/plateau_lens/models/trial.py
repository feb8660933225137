"""The engine's proof of itself: what it does in parallel is held against what the model gives for each step alone.

A new engine tries its model on a few tokens and learns from them how the model is driven. Every new length of prompt
and longer path is tried once as well, and every response's fast way is held against that response's definition.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens._devices import double
from plateau_lens._errors import EngineError
from plateau_lens.models import interventions
from plateau_lens.models.centring import centred, resolve_centre
from plateau_lens.models.parallel import ParallelSteps
from plateau_lens.models.products import Products
from plateau_lens.models.quiet import quiet
from plateau_lens.models.refusals import not_finite, refusal
from plateau_lens.models.sites import Site
from plateau_lens.models.unembedding import Unembedding
from plateau_lens.responses.registry import Response, measured

LEARNING_TOKENS = 8
"""Length of the prompt that a new engine tries a model on."""
LEARNING_LIMIT = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Largest relative difference between a step among others and alone; softmax may be float32 in float64."""
FAST_LIMIT = {torch.float64: 1e-7, torch.float32: 1e-3}
"""Largest difference between a response's fast way and its definition, relative to the largest response."""
LOW_PRECISION = 0.1
"""The same for models in fewer bits."""


class Trial:
    """Tries one model, from one site, on steps that are unlike one another.

    Steps are compared behind the last block: whatever a read site shows on the way there is part of that.

    Args:
        steps: the parallel steps that are tried; it is told what the model is like.
        unembedding: of the same model; it is told likewise.
    """

    def __init__(self, steps: ParallelSteps, unembedding: Unembedding):
        self.steps = steps
        self.unembedding = unembedding
        self.name = type(steps.model).__name__
        self._last = Site(len(steps.blocks) - 1, "hook_resid_post")
        self._final: Tensor | None = None
        """Final states [step, d_model] of the unlike steps."""
        self._proven: set[tuple[int, int]] = set()
        """Lengths of prompt and path that parallel steps were tried on."""
        self._fast: dict[tuple[type[Response], str], bool] = {}
        """Whether the fast way of a response, by its class and parameters, gives what its definition gives."""

    @torch.no_grad()
    def learn(self, centre: bool | str) -> bool:
        """Find out, on a few tokens, what blocks and decoder return and which attention gives the model's result.

        Args:
            centre: whether the residual stream is to be centred, or ``auto``.

        Returns:
            Whether it is.

        Raises:
            EngineError: for a model that cannot be driven, or cannot be centred though it is asked for.
        """
        steps = self.steps
        tuples: list[bool] = []
        handle = steps.blocks[0].register_forward_hook(lambda *a: tuples.append(isinstance(a[2], tuple)))
        tokens = torch.arange(1, LEARNING_TOKENS + 1, device=steps.device)[None]
        with quiet(), self._full_products():
            try:
                self.unembedding.learn(steps.whole(tokens))
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
                raise EngineError(
                    f"{self.name} does not run as a causal decoder of token ids: {error}"
                ) from error
            finally:
                handle.remove()
            steps.returns_tuple = tuples[0]
            base = steps.site_activations(tokens)
            points, alone = self._unlike_steps(tokens, base)
            if not alone.isfinite().all():
                raise EngineError(
                    f"{self.name} gives states that are NaN or infinite: "
                    + (
                        not_finite(steps.model)
                        or "its numbers are too large for its dtype, so choose a wider one"
                    )
                )
            centre = self._learn_centring(tokens, base, alone[:1], asked=centre)
            for steps.own_attention in (False, True):
                self._final = self._agreeing(tokens, points, alone)
                if self._final is not None:
                    self._proven.add((LEARNING_TOKENS, points.shape[1]))
                    return centre
        reason = refusal(steps.model, steps.decoder, base)
        raise EngineError(f"{self.name} cannot be driven from {steps.site} on: {reason}")

    @torch.no_grad()
    def prove(self, n_ctx: int, n_points: int) -> None:
        """Refuse prompts on which parallel steps go wrong though shorter ones came out right: local attention.

        What was proved of a path was proved of shorter ones behind prompts of that length: they outgrow nothing.
        """
        if any(length == n_ctx and most >= n_points for length, most in self._proven):
            return
        steps = self.steps
        vocab = steps.model.config.get_text_config().vocab_size
        tokens = (torch.arange(n_ctx, device=steps.device) % (vocab - 1) + 1)[None]
        with self._full_products():
            points, alone = self._unlike_steps(tokens, steps.site_activations(tokens))
            which = torch.arange(n_points, device=steps.device) % points.shape[1]
            agreed = self._agreeing(tokens, points[:, which], alone[which]) is not None
        if not agreed:
            raise EngineError(
                f"{self.name} cannot be driven with prompts of {n_ctx} tokens and {n_points} steps: there parallel "
                "steps do not give what the model gives for each step alone, though with shorter prompts they do "
                "(local attention, in windows or chunks that the attention function is not told of); use shorter "
                "prompts or fewer steps"
            )
        self._proven.add((n_ctx, n_points))

    @torch.no_grad()
    def has_fast(self, response: Response) -> bool:
        """Whether a response has a fast way that gives what its definition gives; tried once."""
        key = (type(response), response.model_dump_json())
        if key not in self._fast:
            self._fast[key] = self._fast_is_right(response)
        return self._fast[key]

    def _fast_is_right(self, response: Response) -> bool:
        assert self._final is not None
        # Every state is once the one that the others are measured from. The states are unlike one another, so that
        # responses are large and their rounding is not.
        final = torch.stack([self._final.roll(-step, dims=0) for step in range(len(self._final))])
        final = final.to(self.steps.device)
        found: Any = response.fast(final.clone(), self.unembedding, Products(self.steps.model))
        if found is None:
            return False
        shape = (final.shape[0], final.shape[1])
        wanted = double(measured(response.name, response.of(self.unembedding.logits(final)), shape))
        if not isinstance(found, Tensor) or found.shape != wanted.shape:
            return False
        limit = FAST_LIMIT.get(self.steps.model.dtype, LOW_PRECISION)
        error = (double(found) - wanted).abs().max()
        return bool(error <= limit * wanted.abs().max() + response.noise)

    def _learn_centring(self, tokens: Tensor, base: Tensor, plain: Tensor, *, asked: bool | str) -> bool:
        """Centre only a model that computes the same from a mean-free stream: not, say, a post-norm one."""
        if not resolve_centre(self.steps.model, asked):
            return False
        # A mean that the prompt at hand may not have: what it does has to be nothing.
        shifted = self._alone(tokens, base + base.abs().mean())
        error = (centred(shifted, True) - centred(plain, True)).abs().max()
        if error <= self._limit * plain.abs().max():
            return True
        if asked is True:
            raise EngineError(
                f"centre=True, but {self.name} computes something else from a mean-free residual stream (its norms do "
                "not all subtract the mean first); use centre='auto' or False"
            )
        return False

    def _unlike_steps(self, tokens: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """Three points [1, step, d_model] and what the model gives for each alone [step, d_model].

        They are unlike one another: a step that sees another one, or another position, gives itself away.
        """
        points = torch.stack([base, 2 * base, -base.roll(1, dims=-1)], dim=1)
        return points, torch.cat([self._alone(tokens, points[:, step]) for step in range(points.shape[1])])

    def _alone(
        self, tokens: Int[Tensor, "1 pos"], point: Float[Tensor, "1 d_model"]
    ) -> Float[Tensor, "1 d_model"]:
        """State behind the last block of one step as a whole prompt through the whole model."""
        pushed = point.to(self.steps.model.dtype)
        blocks, last = self.steps.blocks, self.steps.blocks[self._last.block]
        with (
            interventions.replaced_at(blocks, self.steps.site.boundary, pushed, position=-1),
            interventions.read_output(last, position=-1, stop=True) as read,
            interventions.stoppable(),
        ):
            self.steps.whole(tokens)
        return read.required(f"reading {self._last}")

    def _agreeing(
        self, tokens: Tensor, points: Tensor, alone: Float[Tensor, "step d_model"]
    ) -> Float[Tensor, "step d_model"] | None:
        """Final states of parallel steps, or None where these do not run, or do not give each what it has alone."""
        try:
            seen = self.steps.run(self.steps.prefix(tokens), points, read=[self._last], final=True)
        except torch.OutOfMemoryError:
            raise
        except (EngineError, RuntimeError, ValueError, TypeError, LookupError, AttributeError):
            return None
        assert seen.final is not None
        error = (seen.states[self._last][0] - alone).abs().max() / alone.abs().max()
        return seen.final[0] if error <= self._limit else None

    @property
    def _limit(self) -> float:
        return LEARNING_LIMIT.get(self.steps.model.dtype, LOW_PRECISION)

    @contextmanager
    def _full_products(self) -> Generator[None]:
        """Inside, products are the model's own: what is tried is the method, not its rounding."""
        narrow, self.steps.products = self.steps.products, Products(self.steps.model)
        try:
            yield
        finally:
            self.steps.products = narrow
