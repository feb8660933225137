"""The engine's proof of itself: what it does in parallel is held against what the model gives for each step alone.

A new engine tries its model on a few tokens and learns from them how the model is driven. Every new length of prompt
and path is tried once as well, and as many rows as a pass has; every response's fast way is held against that
response's definition. What is compared are responses, as a run measures them: L2 and KL. All of it is computed in
float32 at least (`Widened`), and again in float64 where that disagrees, so that what is refused is refused for its
method and not for its rounding.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens._devices import double, has_float64
from plateau_lens._errors import EngineError, ResourceError
from plateau_lens.models.alone import Alone, last_site
from plateau_lens.models.centring import resolve_centre
from plateau_lens.models.gradient import recorded
from plateau_lens.models.memory import in_pieces, out_of_memory
from plateau_lens.models.parallel import ParallelSteps
from plateau_lens.models.products import Products
from plateau_lens.models.proof import Behind, Error, Measured, Proof, compared, responses
from plateau_lens.models.quiet import quiet
from plateau_lens.models.refusals import not_finite, refusal, refuse_training
from plateau_lens.models.sites import Site
from plateau_lens.models.unembedding import Unembedding
from plateau_lens.models.widened import Widened
from plateau_lens.responses.registry import Response, measured

LEARNING_TOKENS = 8
"""Length of the prompts that a new engine tries a model on."""
LEARNING_LIMIT = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Largest difference between responses of steps among others and alone, relative to the largest response; in float64
some models take a softmax or a router in float32 all the same."""
FAST_LIMIT = {torch.float64: 1e-7, torch.float32: 1e-3}
"""Largest difference between a response's fast way and its definition, relative to the largest response."""
_UNLIKE = 3
"""Points that are unlike one another: the base and two others."""
_FAILURES = (EngineError, RuntimeError, ValueError, TypeError, LookupError, AttributeError)


class Trial:
    """Tries one model, from one site, on steps that are unlike one another.

    Args:
        steps: the parallel steps that are tried; it is told what the model is like.
        unembedding: of the same model; it is told likewise.
    """

    def __init__(self, steps: ParallelSteps, unembedding: Unembedding):
        self.steps = steps
        self.unembedding = unembedding
        self.name = type(steps.model).__name__
        self.centre = False
        self.proofs: list[Proof] = []
        """What was proved, in order."""
        self._push: Tensor | None = None
        """The way from one model-generated activation to another [d_model]."""
        self._final: Tensor | None = None
        """Final states [step, d_model] of the unlike steps."""
        self._fast: dict[tuple[type[Response], str], bool] = {}
        """Whether the fast way of a response, by its class and parameters, gives what its definition gives."""
        self._least = torch.float32
        """What the model was learnt in, or a wider type that it is in."""
        self._differentiable = False
        """Whether the gradient was proved."""
        self._failure: Exception | None = None
        """Why parallel steps did not run, if they did not."""

    @torch.no_grad()
    def learn(self, centre: bool | str) -> bool:
        """Find out, on a few tokens, what blocks and decoder return and which attention gives the model's result.

        Whatever was proved or learnt before is forgotten.

        Args:
            centre: whether the residual stream is to be centred, or ``auto``.

        Returns:
            Whether it is.

        Raises:
            EngineError: for a model that cannot be driven, or cannot be centred though it is asked for.
            ResourceError: if there is not memory enough.
        """
        refuse_training(self.steps.model)
        self._fast.clear()
        self._differentiable = False
        self.steps.products.renew()
        wanted = resolve_centre(self.steps.model, centre)
        driven = self._learn_in(torch.float32, wanted)
        if not (driven and self.centre is wanted) and not self._decided_in_float64(wanted) and driven:
            self._learn_in(torch.float32, wanted)
        if self.proofs and centre is True and not self.centre:
            raise EngineError(
                f"centre=True, but {self.name} computes something else from a mean-free residual stream (its norms do "
                "not all subtract the mean first); use centre='auto' or False"
            )
        if self.proofs:
            return self.centre
        with quiet():
            base = self.steps.site_activations(self._tokens(1, LEARNING_TOKENS))
            reason = refusal(self.steps.model, self.steps.decoder, base)
        raise EngineError(
            f"{self.name} cannot be driven from {self.steps.site} on: {reason}"
        ) from self._failure

    def _decided_in_float64(self, wanted: bool) -> bool:
        """Whether float64 finds what float32 did not: rounding can look like a difference."""
        if not has_float64(self.steps.device):
            return False
        try:
            return self._learn_in(torch.float64, wanted)
        except (*_FAILURES, ResourceError):  # many models do not run in it
            return False

    def _learn_in(self, least: torch.dtype, centre: bool) -> bool:
        """Learn what the model is like by trying it in a type that is as wide as ``least``; whether it is driven."""
        steps = self.steps
        self.proofs.clear()
        self._least = least
        tuples: list[bool] = []
        handle = steps.blocks[0].register_forward_hook(lambda *a: tuples.append(isinstance(a[2], tuple)))
        tokens = self._tokens(2, LEARNING_TOKENS)
        with quiet(), self._widened() as products:
            try:
                if products.dtype != steps.model.dtype:
                    self._refuse_overflow(tokens)
                self.unembedding.learn(steps.whole(tokens), steps.products)
            except EngineError:
                raise
            except _FAILURES as error:
                self._refuse_shortage(error)
                raise EngineError(
                    f"{self.name} does not run as a causal decoder of token ids: {error}"
                ) from error
            finally:
                handle.remove()
            if not tuples:
                raise EngineError(
                    f"the blocks that {self.name} had when this engine was made fired 0 times in one pass, expected 1; "
                    "they were replaced: make a new engine"
                )
            steps.returns_tuple = tuples[0]
            self._look_into({*steps.stream.found, *([steps.site.block] if steps.site.within else [])})
            steps.stream.require(steps.site)
            base = steps.site_activations(tokens)
            if base.shape != (len(tokens), steps.d_model):
                return False
            self._push = _way(base)
            alone = Alone.of(steps, tokens, self._unlike(base))
            self._refuse_what_is_no_number(alone.behind.states)
            self.centre = centre and self._can_be_centred(alone)
            for steps.own_attention in (False, True):
                if self._agree(alone, _UNLIKE, len(tokens)):
                    return True
        return False

    @torch.no_grad()
    def require(self, site: Site) -> None:
        """Find out where a site within a block is, once.

        Raises:
            ConfigError: for a site that the model does not have.
        """
        if site.within and site.block not in self.steps.stream.found:
            with quiet(), self._widened():
                self._look_into({site.block})
        self.steps.stream.require(site)

    def _look_into(self, blocks: Iterable[int]) -> None:
        tokens = self._tokens(2, LEARNING_TOKENS)
        for block in blocks:
            self.steps.stream.learn(block, lambda: self.steps.whole(tokens))

    @torch.no_grad()
    def prove(self, n_ctx: int, n_points: int, n_pairs: int) -> None:
        """Refuse passes that go wrong though smaller ones came out right.

        Longer prompts and paths may outgrow local attention, and blocks that share out a capacity among the tokens of a
        batch compute another thing for a token in a large batch than alone. So every length is tried once, on a single
        prompt, and the number of rows on as many as a pass has, once.

        Raises:
            EngineError: for such lengths, or so many rows.
            ResourceError: if there is not memory enough.
        """
        n_points = max(n_points, _UNLIKE)
        # Twice the rows are no other case, and what fits free memory is a few more now and a few less then.
        more_rows = n_pairs * n_points > 2 * max(proof.n_pairs * proof.n_points for proof in self.proofs)
        known = any(proof.n_ctx == n_ctx and proof.n_points >= n_points for proof in self.proofs)
        if known and not more_rows:
            return
        if self._proves(n_ctx, n_points, n_pairs if more_rows else 1):
            return
        if more_rows and n_pairs > 1 and self._proves(n_ctx, n_points, 1):
            raise EngineError(
                f"{self.name} cannot be driven with {n_pairs} prompts at once: among so many rows parallel steps do "
                "not give what the model gives for each step alone, though those of a single prompt do (blocks that "
                "share out a capacity among the tokens of a batch); use a smaller max_rows"
            )
        raise EngineError(
            f"{self.name} cannot be driven with prompts of {n_ctx} tokens and {n_points} steps: there parallel "
            "steps do not give what the model gives for each step alone, though with shorter prompts they do "
            "(local attention, in windows or chunks that the attention function is not told of); use shorter "
            "prompts or fewer steps"
        ) from self._failure

    def _proves(self, n_ctx: int, n_points: int, n_pairs: int) -> bool:
        """Whether parallel steps agree in what the model was learnt in or, where it runs in that, in float64."""
        tokens, learnt_in = self._tokens(1, n_ctx), self._least
        for self._least in dict.fromkeys((learnt_in, torch.float64)):
            if self._least != learnt_in and not has_float64(self.steps.device):
                break
            try:
                with quiet(), self._widened():
                    base = self.steps.site_activations(tokens)
                    if self._agree(Alone.of(self.steps, tokens, self._unlike(base)), n_points, n_pairs):
                        return True
            except (*_FAILURES, ResourceError):
                if self._least == learnt_in:
                    raise
            finally:
                self._least = learnt_in
        return False

    @torch.no_grad()
    def prove_gradient(self) -> None:
        """Hold the gradient of L2 and KL with respect to the points against that of each step alone, once.

        Raises:
            EngineError: if it is another one, or there is none.
        """
        if self._differentiable:
            return
        steps, last, failure = self.steps, last_site(self.steps), None
        tokens = self._tokens(2, LEARNING_TOKENS)
        with quiet(), self._widened():
            points = self._unlike(steps.site_activations(tokens)).to(steps.products.dtype).requires_grad_()
            prefix = steps.prefix(tokens)
            try:
                with recorded(steps.model, True):
                    wanted = self._gradients(points, Alone.of(steps, tokens, points).behind)
                    seen = steps.run(prefix, points, read=[last], final=True)
                    assert seen.final is not None
                    found = self._gradients(
                        points, Behind(seen.states[last], self.unembedding.logits(seen.final))
                    )
                self._differentiable = all(
                    compared(Measured(one, 0), Measured(other, 0), self._limit).passed
                    for one, other in zip(found, wanted, strict=True)
                )
            except _FAILURES as error:
                self._refuse_shortage(error)
                failure = error
        if not self._differentiable:
            reason = f" ({failure})" if failure else ""
            raise EngineError(
                f"{self.name} has no gradient here: that of parallel steps is not what each step alone gives{reason}; "
                "use grad=False"
            ) from failure

    def _gradients(self, points: Tensor, behind: Behind) -> list[Tensor]:
        """Of the sum of each response over pairs and steps; responses differ in size by far."""
        return [
            torch.autograd.grad(each.values.sum(), points, retain_graph=True)[0]
            for each in responses(behind, centre=self.centre).values()
        ]

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
        layer = self.steps.model.get_output_embeddings()
        shape = (final.shape[0], final.shape[1])
        with self._widened() as products, products.computing(), products.holding(layer):
            final = final.to(self.steps.device, products.dtype)
            found: Any = response.fast(final.clone(), self.unembedding, Products(self.steps.model))
            if found is None:
                return False
            wanted = double(measured(response.name, response.of(self.unembedding.logits(final)), shape))
        if not isinstance(found, Tensor) or found.shape != wanted.shape:
            return False
        noise, limit = response.noise, FAST_LIMIT[products.dtype]
        return compared(Measured(double(found), noise), Measured(wanted, noise), limit).passed

    def _can_be_centred(self, alone: Alone) -> bool:
        """Whether the model computes the same from a mean-free stream: not so, say, a post-norm one."""
        plain, base = alone.behind, alone.points[:, :1]
        # A mean that the prompt at hand may not have: what it does has to be nothing.
        shifted = Alone.of(self.steps, alone.tokens, base + base.abs().mean()).behind
        moved = Behind(*(torch.cat([a[:, :1], b], dim=1) for a, b in zip(plain, shifted, strict=True)))
        found, wanted = responses(moved, centre=True), responses(plain, centre=True)
        return all(
            float(each.values.max() - each.noise) <= self._limit * float(wanted[name].values.max())
            for name, each in found.items()
        )

    def _tokens(self, n_prompts: int, n_ctx: int) -> Int[Tensor, "prompt pos"]:
        vocab = self.steps.model.config.get_text_config().vocab_size
        ids = torch.arange(n_prompts * n_ctx, device=self.steps.device) % (vocab - 1) + 1
        return ids.view(n_prompts, n_ctx)

    def _unlike(self, base: Float[Tensor, "pair d_model"]) -> Float[Tensor, "pair step d_model"]:
        """Each base and two points around it: a step that sees another one, or another position, gives itself away.

        They differ by what activations differ by, so that a coordinate that is large in all of them does not count.
        """
        assert self._push is not None
        push = self._push.to(base)
        return torch.stack([base, base + push, base + push.roll(1)], dim=1)

    def _agree(self, alone: Alone, n_points: int, n_pairs: int) -> bool:
        """Whether parallel steps run and give each step what it has alone; if so, that is a proof.

        Args:
            alone: unlike points of some prompts.
            n_points: of a path that goes round the points.
            n_pairs: prompts at once, which go round those given.
        """
        tokens = alone.tokens
        which = torch.arange(n_points, device=tokens.device) % _UNLIKE
        pair = torch.arange(n_pairs, device=tokens.device) % len(tokens)
        self._failure = None
        try:
            errors = [*in_pieces(n_pairs, n_pairs, lambda part: self._errors(alone, which, pair[part]))]
        except _FAILURES as error:
            self._refuse_shortage(error)
            self._failure = error
            return False
        if not all(error.passed for each in errors for error in each.values()):
            return False
        dtype, tried_in = (
            str(each).removeprefix("torch.") for each in (self.steps.model.dtype, self.steps.products.dtype)
        )
        self.proofs.append(
            Proof(
                str(self.steps.device),
                dtype,
                tried_in,
                tokens.shape[1],
                n_points,
                n_pairs,
                str(self.steps.site),
                {name: max(each[name] for each in errors) for name in errors[0]},
            )
        )
        return True

    def _errors(
        self, alone: Alone, which: Int[Tensor, " step"], pair: Int[Tensor, " row"]
    ) -> dict[str, Error]:
        """Of each response, how parallel steps differ from each step alone."""
        points, last = alone.points[pair][:, which], last_site(self.steps)
        seen = self.steps.run(self.steps.prefix(alone.tokens[pair]), points, read=[last], final=True)
        assert seen.final is not None
        # Logits of all rows could fill a memory; the first of each prompt will do, and the first and last steps.
        some = torch.tensor(sorted({*range(len(which))[:_UNLIKE], *range(len(which))[1 - _UNLIKE :]}))
        few = slice(0, len(alone.tokens))
        final = seen.final[few][:, some]
        with self.steps.products.computing():
            logits = self.unembedding.logits(final)
        found = responses(Behind(seen.states[last], logits), centre=self.centre)
        wanted = responses(
            Behind(alone.behind.states[pair][:, which], alone.behind.logits[pair[few]][:, which[some]]),
            centre=self.centre,
        )
        self._final = seen.final[0, :_UNLIKE]
        return {name: compared(each, wanted[name], self._limit) for name, each in found.items()}

    def _refuse_overflow(self, tokens: Tensor) -> None:
        """Refuse a model in few bits whose own states leave their range, which they do not in float32."""
        wide, self.steps.products = self.steps.products, Products(self.steps.model)
        try:
            self._refuse_what_is_no_number(self.steps.whole(tokens).last_hidden_state)
        finally:
            self.steps.products = wide

    def _refuse_what_is_no_number(self, states: Tensor) -> None:
        if not states.isfinite().all():
            raise EngineError(
                f"{self.name} gives states that are NaN or infinite: "
                + (
                    not_finite(self.steps.model)
                    or "its numbers are too large for its dtype, so choose a wider one"
                )
            )

    def _refuse_shortage(self, error: BaseException) -> None:
        if out_of_memory(error):
            raise ResourceError(
                f"there is not memory enough to try {self.name} on a few prompts ({str(error).splitlines()[0]}); use a "
                "smaller prompts.n_ctx, or a device with more memory"
            ) from error

    @property
    def _limit(self) -> float:
        return LEARNING_LIMIT[self.steps.products.dtype]

    @contextmanager
    def _widened(self) -> Generator[Products]:
        """Inside, products are the model's own, in float32 at least: what is tried is the method, not its rounding."""
        asked, steps = self.steps.products, self.steps
        steps.products = Widened(steps.model, steps.decoder, steps.blocks, self._least)
        try:
            yield self.steps.products
        finally:
            self.steps.products = asked


def _way(base: Float[Tensor, "pair d_model"]) -> Float[Tensor, " d_model"]:
    """From the first activation to the second; from one coordinate to the next where the two are the same."""
    ways = (base[1] - base[0], base[0].roll(1) - base[0], torch.ones_like(base[0]))
    return next(way for way in ways if way.any())
