"""The suffix engine: all steps of a curve are parallel tokens of one forward pass.

Only the last token changes, and only from the site on. So the prompt's prefix is run once and its keys and
values kept; then the ``n_steps + 1`` perturbed vectors are fed as that many tokens *at the same position
id*, each attending to the prefix and to itself only. Blocks before the site are skipped.
`ParallelSteps` is how that is done, `Trial` how it is proved on the model at hand; see ``docs/design/engine.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens._devices import double
from plateau_lens._errors import ConfigError
from plateau_lens.models.centring import centred
from plateau_lens.models.exclusive import exclusive
from plateau_lens.models.gradient import recorded
from plateau_lens.models.memory import in_pieces, out_of_memory
from plateau_lens.models.parallel import ParallelSteps, Prefix
from plateau_lens.models.products import Matmul, Products
from plateau_lens.models.proof import Proof
from plateau_lens.models.refusals import refuse_quantised
from plateau_lens.models.sites import Site, decoder_blocks
from plateau_lens.models.snapshot import Snapshot
from plateau_lens.models.stream import Stream
from plateau_lens.models.trial import Trial
from plateau_lens.models.unembedding import Unembedding
from plateau_lens.responses.registry import Response, Responses, asked_for, measured

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")
LOGITS_ELEMENTS = 5_000_000
"""Logits held at once where they are needed whole."""


class SuffixEngine:
    """Runs a decoder from a site onward, for many steps of many pairs at once.

    Args:
        model: any Hugging Face decoder-only causal language model, unmodified.
        site: where the model is pushed, e.g. ``blocks.1.hook_resid_pre``; see `Site.parse` for names.
        read_site: where responses that name no read site of their own read; ``auto`` is the last block's
            ``hook_resid_post``. At a site behind the last block only responses of the output can be measured.
        centre: subtract the d_model mean at site and read sites; ``auto`` for LayerNorm models that ignore that mean.
        matmul: how products with the weights are computed, see `plateau_lens.models.products`; or another engine's.
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
        matmul: Matmul | Products = "full",
        max_rows: int | None = None,
    ):
        self.model = model
        self.blocks = decoder_blocks(model)
        refuse_quantised(model, self.blocks)
        self.site = Site.parse(site, n_blocks=len(self.blocks))
        last = f"blocks.{len(self.blocks) - 1}.hook_resid_post"
        # At the end of the stream nothing is left to read: responses of the output alone can be measured there.
        nothing = self.at_end and read_site == "auto"
        self.read_site = self.site if nothing else self._named(last if read_site == "auto" else read_site)
        products = matmul if isinstance(matmul, Products) else Products(model, matmul)
        self._steps = ParallelSteps(model, self.site, products, max_rows)
        self._unembedding = Unembedding(model, self._steps.decoder)
        self._trial = Trial(self._steps, self._unembedding)
        self._proved_of: Snapshot | None = None
        with exclusive(self.blocks):
            self.centre = self._learn(centre)
            self._require(self.read_site)
        self._asked: dict[str, Any] = {"centre": centre, "matmul": products, "max_rows": max_rows}

    def at(self, site: str) -> SuffixEngine:
        """An engine of the same model, kept as this one is, that pushes at another site; it reads where this one does.

        Raises:
            ConfigError: as for a new engine.
        """
        at_end = Site.parse(site, n_blocks=len(self.blocks)).boundary == len(self.blocks)
        return SuffixEngine(self.model, site, "auto" if at_end else str(self.read_site), **self._asked)

    @torch.no_grad()
    def site_activations(self, tokens: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt d_model"]:
        """Last-token activations at the site, centred if the engine centres; later blocks are not run.

        Raises:
            ConfigError: for no prompts, or prompts of more tokens than the model has positions.
            EngineError: for a model that has changed and cannot be driven as it is now.
        """
        with self._driving():
            return centred(self._steps.site_activations(tokens), self.centre)

    @torch.no_grad()
    def prefix(self, tokens: Int[Tensor, "pair pos"]) -> Prefix:
        """Run everything before the last token once and keep its keys and values.

        Raises:
            ConfigError: for prompts of a single token, which have no prefix, or of more than the model has positions.
            EngineError: for a model that has changed and cannot be driven as it is now.
        """
        with self._driving() as made_of:
            return replace(self._steps.prefix(tokens), made_of=made_of)

    def respond(
        self,
        prefix: Prefix,
        points: Float[Tensor, "pair step d_model"],
        responses: Responses = ("l2", "kl"),
        *,
        grad: bool = False,
    ) -> dict[str, Float[Tensor, "pair step"]]:
        """Responses to each point, relative to point 0 of its pair.

        All are of one forward pass. It ends at the furthest read site, and no unembedding is computed, where no
        response reads further.

        Args:
            prefix: of the same pairs, in the same order.
            points: what the site's last token is set to; point 0 is the unperturbed base.
            responses: registered names, or responses by label.
            grad: have torch.autograd record how responses come from ``points``, which require a gradient; that of the
                weights is not recorded. The graph of all passes stays in memory as long as the responses do. Each
                response is measured by its definition.

        Returns:
            float64 tensors by name or label; 0 at step 0.

        Raises:
            ConfigError: for an unknown name, a read site that is not behind the site, shapes that do not fit, or a
                prefix of another model, or of this one before it changed; with ``grad``, for points that require no
                gradient, or a response that has none.
            EngineError: for prompts and paths as long as this model cannot be driven with, or a model that has changed
                and cannot be driven as it is now.
            ResourceError: if there is not memory enough for one step of one prompt.
        """
        made = asked_for(responses)
        sites = self.read_sites(made)
        behind = {label: response for label, response in made.items() if label not in sites}

        def measure(pairs: slice) -> dict[str, Tensor]:
            seen = self._steps.run(
                prefix.rows(pairs), points[pairs], read=set(sites.values()), final=bool(behind)
            )
            part = {
                label: _measured(label, made[label], centred(seen.states[site], self.centre))
                for label, site in sites.items()
            }
            return part if seen.final is None else part | self._of_final(seen.final, behind)

        parts = self._in_passes(prefix, points, measure, grad=grad)
        return {label: torch.cat([part[label] for part in parts]) for label in made}

    def states(
        self,
        prefix: Prefix,
        points: Float[Tensor, "pair step d_model"],
        sites: Sequence[str],
        *,
        grad: bool = False,
    ) -> dict[str, Float[Tensor, "pair step d_model"]]:
        """What each point makes of the last token at any sites behind it, all in one forward pass. All of it is kept.

        Args:
            prefix: of the same pairs, in the same order.
            points: what the site's last token is set to.
            sites: names, see `Site.parse`.
            grad: as of `respond`.

        Returns:
            By name as given, float32 or wider; centred if the engine centres.

        Raises:
            ConfigError, EngineError, ResourceError: as of `respond`.
        """
        if isinstance(sites, str):
            raise ConfigError(f"{sites!r} is one name; pass a list of names, [{sites!r}]")
        asked = {name: self._behind(name) for name in sites}
        if not asked:
            raise ConfigError("no sites to read; pass the name of one at least")

        def read(pairs: slice) -> dict[str, Tensor]:
            seen = self._steps.run(prefix.rows(pairs), points[pairs], read=set(asked.values()), final=False)
            states = {site: centred(state, self.centre) for site, state in seen.states.items()}
            return {
                name: states[site].to(torch.promote_types(states[site].dtype, torch.float32))
                for name, site in asked.items()
            }

        parts = self._in_passes(prefix, points, read, grad=grad)
        return {name: torch.cat([part[name] for part in parts]) for name in asked}

    def logits(
        self, prefix: Prefix, points: Float[Tensor, "pair step d_model"], *, grad: bool = False
    ) -> Float[Tensor, "pair step vocab"]:
        """Next-token logits of each point, float32 or wider. For a few points: all of them are kept.

        Raises:
            ConfigError, EngineError, ResourceError: as of `respond`, and so is ``grad``.
        """

        def measure(pairs: slice) -> Tensor:
            final = self._steps.run(prefix.rows(pairs), points[pairs], read=(), final=True).final
            assert final is not None
            return self._unembedding.logits(final)

        return torch.cat(self._in_passes(prefix, points, measure, grad=grad))

    def read_sites(self, responses: Mapping[str, Response]) -> dict[str, Site]:
        """Where those of the responses that read the residual stream read it, by label.

        Raises:
            ConfigError: for a read site that this model does not have, or that is not behind the site.
        """
        return {
            label: self._behind(str(self.read_site) if response.read_site == "auto" else response.read_site)
            for label, response in responses.items()
            if response.reads == "state"
        }

    @property
    def stream(self) -> Stream:
        """Where sites are in the model."""
        return self._steps.stream

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._steps.device

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self._steps.d_model

    @property
    def at_end(self) -> bool:
        """Whether the site is behind the last block, so that of the stream nothing is left to read."""
        return self.site.boundary == len(self.blocks)

    @property
    def own_attention(self) -> bool:
        """True for models that bring their own attention and get a plain mask instead of ours."""
        return self._steps.own_attention

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """What was proved of this engine since it was made, or since its model last changed."""
        return tuple(self._trial.proofs)

    def _learn(self, centre: bool | str) -> bool:
        """Have the model tried as it is now; whether the stream is to be centred."""
        self._proved_of = None
        now = Snapshot(self.model)
        found = self._trial.learn(centre)
        self._proved_of = now
        return found

    @contextmanager
    def _driving(self) -> Generator[Snapshot]:
        """The way into the model: inside, nobody else drives it, and it is what was tried."""
        with exclusive(self.blocks):
            if self._proved_of is None or self._proved_of.change():
                self.centre = self._learn(self.centre)
            assert self._proved_of is not None
            yield self._proved_of

    def _in_passes(
        self,
        prefix: Prefix,
        points: Float[Tensor, "pair step d_model"],
        measure: Callable[[slice], T],
        *,
        grad: bool,
    ) -> list[T]:
        """The one way to push: shapes that fit, a model that is what the prefix was made of, a proof, then the work."""
        if points.dim() != 3 or points.shape[0] != len(prefix) or points.shape[-1] != self.d_model:
            raise ConfigError(
                f"points are {tuple(points.shape)} but the prefix has {len(prefix)} pairs and "
                f"{type(self.model).__name__} has d_model={self.d_model}; "
                f"pass ({len(prefix)}, steps, {self.d_model})"
            )
        n_pairs, n_steps, _ = points.shape
        if not n_steps:
            raise ConfigError("points have no steps; pass the unperturbed base at least")
        if grad and not (points.requires_grad and not torch.is_inference_mode_enabled()):
            raise ConfigError(
                "grad=True, but points require no gradient; call points.requires_grad_() first, outside of "
                "torch.inference_mode()"
            )
        with self._driving() as now:
            self._refuse_stale(prefix, now)
            rows = self._steps.rows_a_pass(prefix.n_ctx)
            pairs_a_pass = max(1, rows // n_steps)
            self._trial.prove(prefix.n_ctx, min(n_steps, rows), min(n_pairs, pairs_a_pass))
            if grad:
                self._trial.prove_gradient()
            with recorded(self.model, grad):
                return [*in_pieces(n_pairs, pairs_a_pass, measure)]

    def _refuse_stale(self, prefix: Prefix, now: Snapshot) -> None:
        if prefix.cache.first_block > self.site.boundary:
            raise ConfigError(
                f"the prefix was made for a site behind {self.site}, and lacks the blocks before it; make it with this "
                "engine's prefix(tokens)"
            )
        if not self.site.of_stream and (
            prefix.entering is None or prefix.cache.first_block != self.site.block
        ):
            raise ConfigError(
                f"the prefix was made for a site other than {self.site}, and lacks the last token's stream before "
                f"block {self.site.block}; make it with this engine's prefix(tokens)"
            )
        made_of = prefix.made_of
        if made_of is None or made_of is now:
            return
        change = "the model is another one" if made_of.model is not self.model else made_of.change()
        if change:
            raise ConfigError(
                f"the prefix does not belong to the model as it is now ({change}); make it again with prefix(tokens)"
            )

    def _behind(self, name: str) -> Site:
        """The read site of that name."""
        site = self._named(name)
        if site.within:
            with self._driving():
                self._require(site)
        return site

    def _named(self, name: str) -> Site:
        site = Site.parse(name, n_blocks=len(self.blocks))
        if self.at_end:
            raise ConfigError(
                f"nothing is read behind {self.site}, where only the final norm and the unembedding are left; "
                "measure responses of the output there, such as kl"
            )
        if site.depth <= self.site.depth:
            raise ConfigError(
                f"read site {site} is not behind the site {self.site}; "
                f"legal: up to blocks.{len(self.blocks) - 1}.hook_resid_post"
            )
        return site

    def _require(self, read_site: Site) -> None:
        """The model has the read site, and what is pushed gets there."""
        self._trial.require(read_site)
        if self.stream.in_parallel(self.site, read_site):
            raise ConfigError(
                f"read site {read_site} is not behind the site {self.site}: both parts of this block read its input, "
                f"side by side; legal: blocks.{self.site.block}.hook_resid_post and on"
            )

    def _of_final(
        self, final: Float[Tensor, "pair step d_model"], responses: Mapping[str, Response]
    ) -> dict[str, Float[Tensor, "pair step"]]:
        """What is measured on final states, or on their logits, where no fast way spares these."""
        found: dict[str, Tensor] = {}
        of_logits: dict[str, list[Tensor]] = {}
        for label, response in responses.items():
            if response.reads == "final":
                found[label] = _measured(label, response, final)
                continue
            fast = None
            if not torch.is_grad_enabled() and self._trial.has_fast(response):
                fast = response.fast(final, self._unembedding, self._steps.products)
            if fast is None:
                of_logits[label] = []
            else:
                found[label] = double(fast)
        vocab = self.model.config.get_text_config().vocab_size
        pairs_a_block = max(1, LOGITS_ELEMENTS // (final.shape[1] * vocab))
        for block in final.split(pairs_a_block) if of_logits else ():
            logits = self._unembedding.logits(block)
            for label, values in of_logits.items():
                values.append(_measured(label, responses[label], logits))
        return found | {label: torch.cat(values) for label, values in of_logits.items()}


def _measured(label: str, response: Response, seen: Tensor) -> Float[Tensor, "pair step"]:
    """A response by its definition; with a gradient, where one is recorded."""
    shape = (seen.shape[0], seen.shape[1])
    if not seen.requires_grad:
        return double(measured(label, response.of(seen), shape))
    try:
        found = measured(label, response.of(seen), shape)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise ConfigError(f"response {label!r} has no gradient: {error}") from error
    if not found.requires_grad:
        raise ConfigError(
            f"response {label!r} has no gradient: nothing of what it reads is left in its graph"
        )
    return double(found)
