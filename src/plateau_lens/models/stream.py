"""The residual stream of a decoder: read, replaced and entered at any site."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from plateau_lens._errors import ConfigError
from plateau_lens.models import interventions
from plateau_lens.models.interventions import Firings
from plateau_lens.models.sites import HOOKS, Site
from plateau_lens.models.sublayers import Sublayers, find_sublayers


class Stream:
    """Where sites are in a model.

    Args:
        name: of the model, for errors.
        blocks: of the model.
    """

    def __init__(self, name: str, blocks: nn.ModuleList):
        self.name, self.blocks = name, blocks
        self.found: dict[int, Sublayers | None] = {}
        """Parts of the blocks that were looked into, by block."""

    def learn(self, block: int, run: Callable[[], object]) -> None:
        """Look into a block, see `find_sublayers`."""
        self.found[block] = find_sublayers(self.blocks[block], run)

    def require(self, site: Site) -> None:
        """Refuse a site that the model does not have; its block was looked into.

        Raises:
            ConfigError: naming the sites of the block.
        """
        if not site.within:
            return
        parts = self.found[site.block]
        if parts is None:
            reason = (
                "what the block adds to the stream is not the sum of what two of its parts give (they are scaled or "
                "normed behind it, or there is only one)"
            )
        elif site.hook == "hook_resid_mid" and not parts.has_middle:
            reason = "its MLP does not read the stream behind attention (both read the block's input, side by side)"
        else:
            return
        has = [hook for hook in HOOKS if not Site(site.block, hook).within]
        if parts is not None:
            has += ["hook_attn_out", "hook_mlp_out"]
        legal = ", ".join(f"blocks.{site.block}.{hook}" for hook in has)
        raise ConfigError(f"{self.name} has no {site}: {reason}; legal: {legal}")

    def in_parallel(self, one: Site, other: Site) -> bool:
        """Whether two sites are outputs of parts of one block, neither of which reads the other's."""
        parts = self.found.get(one.block)
        return (
            parts is not None
            and not parts.has_middle
            and one.block == other.block
            and {one.hook, other.hook} == {"hook_attn_out", "hook_mlp_out"}
        )

    def read(
        self, site: Site, *, position: int | slice = slice(None), stop: bool = False
    ) -> AbstractContextManager[Firings]:
        """Keep what is at the site, where it is pushed; with ``stop``, end the pass there (`interventions.stoppable`).

        Between two blocks that is the input of the second, behind whatever hooks others have put on it.
        """
        if site.hook == "hook_resid_mid":
            block, part = self.blocks[site.block], self._part(site)
            return interventions.read_sum(block, part, position=position, stop=stop)
        if not site.within and site.boundary < len(self.blocks):
            return interventions.read_input(self.blocks[site.boundary], position=position, stop=stop)
        return interventions.read_output(self._part(site), position=position, stop=stop)

    def read_behind(
        self, site: Site, *, position: int | slice = slice(None)
    ) -> AbstractContextManager[Firings]:
        """The same for a read site: between two blocks the output of the first, so that the second need not run."""
        if site.within:
            return self.read(site, position=position)
        return interventions.read_output(self.blocks[site.boundary - 1], position=position)

    def replaced(
        self, site: Site, points: Tensor, *, position: int | None = None
    ) -> AbstractContextManager[Firings]:
        """Have ``points`` at the site in a pass over whole prompts: everywhere, or at one token ``position``."""
        if site.hook == "hook_resid_mid":
            block, part = self.blocks[site.block], self._part(site)
            where = slice(None) if position is None else position
            return interventions.replaced_sum(block, part, points, position=where)
        if not site.within and site.boundary < len(self.blocks):
            return interventions.replaced_input(self.blocks[site.boundary], points, position=position)
        return interventions.replaced_output(self._part(site), points, position=position)

    @contextmanager
    def entered(self, site: Site, points: Tensor, entering: Tensor | None) -> Generator[list[Firings]]:
        """Have ``points`` at the site in a pass in which the blocks before it do nothing.

        Args:
            site: the site.
            points: what is there [pair, step, d_model].
            entering: the stream before the site's block [pair, d_model]; needed where the site is not of the stream.
        """
        if not site.within:
            with self.replaced(site, points) as firings:
                yield [firings]
            return
        if (
            site.of_stream
        ):  # between attention and MLP: as if attention added nothing to what is already there
            stream, given = points, torch.zeros_like(points)
        else:
            assert entering is not None
            stream, given = entering.to(points)[:, None].expand_as(points), points
        with (
            interventions.replaced_input(self.blocks[site.block], stream) as before,
            interventions.replaced_output(self._part(site), given) as firings,
        ):
            yield [before, firings]

    def _part(self, site: Site) -> nn.Module:
        """The module whose output is at the site, or takes the stream there."""
        if not site.within:
            return self.blocks[site.block]
        parts = self.found[site.block]
        assert parts is not None
        return parts.mlp if site.hook == "hook_mlp_out" else parts.attention
