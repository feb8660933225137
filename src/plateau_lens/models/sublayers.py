"""The two parts of a block that add to the residual stream, attention and MLP, found by trial and by no name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plateau_lens.models import interventions
from plateau_lens.models.interventions import Firings

Stream = Float[Tensor, "prompt pos d_model"]
_ROUNDINGS = 16
"""Units in the last place that a sum of three may be off by, as models add in any order."""


@dataclass(frozen=True)
class Sublayers:
    """A block whose output is ``x + a + m``: its input, and what the last module of either part gives."""

    attention: nn.Module
    mlp: nn.Module
    has_middle: bool
    """Whether the MLP reads ``x + a`` and nothing else of the two; not so where both parts read ``x``."""


@dataclass
class _Pass:
    """What one pass showed of a block."""

    before: Stream
    after: Stream
    given: dict[nn.Module, Stream]
    """What those modules gave that fired once and gave something of the stream's shape; in the order they ended."""


@dataclass
class _Recorder:
    block: nn.Module
    run: Callable[[], object]
    outputs: list[tuple[nn.Module, Stream]] = field(default_factory=list)

    def __call__(self, *changes: AbstractContextManager[Any]) -> _Pass:
        """One pass under these changes, up to the end of the block."""
        self.outputs.clear()
        with ExitStack() as stack:
            for change in changes:
                stack.enter_context(change)
            before = stack.enter_context(interventions.read_input(self.block, position=slice(None)))
            for module in self.block.modules():
                stack.callback(module.register_forward_hook(self._keep).remove)
            stack.enter_context(interventions.ending(self.block))
            with interventions.stoppable():
                self.run()
        entered = before.required("reading a block's input")
        *parts, (_, after) = self.outputs
        fired = [module for module, _ in parts]
        given = {
            module: output
            for module, output in parts
            if output.shape == entered.shape and fired.count(module) == 1
        }
        return _Pass(entered, after, given)

    def _keep(self, module: nn.Module, _: Any, result: Any) -> None:
        first = result[0] if isinstance(result, tuple | list) and result else result
        if isinstance(first, Tensor):
            self.outputs.append((module, first.clone()))


def find_sublayers(block: nn.Module, run: Callable[[], object]) -> Sublayers | None:
    """Find out which two modules give what a block adds to the stream, or None if no two do.

    Two modules qualify whose outputs make up the difference of the block's output and input, also when other numbers
    are put in their places. Of several that give the same, one in the other, it is the outermost. Attention is the one
    that changes for the last token if earlier ones do.

    Args:
        block: a block of a model.
        run: a forward pass of the model over two prompts that differ, of the same length.
    """
    record = _Recorder(block, run)
    plain = record()
    noise = torch.randn(plain.before.shape, generator=torch.Generator().manual_seed(0)).to(plain.before)
    one, other = (part * plain.before.std() for part in (noise, noise.roll(1, dims=-1)))
    # Those that ended last are outermost.
    for second, first in combinations(reversed(plain.given), 2):
        if not _sum(plain.before, plain.given[first], plain.given[second], plain.after):
            continue
        moved = record(replaced(first, one), replaced(second, other))
        if _sum(plain.before, one, other, moved.after):
            return _told_apart(record, plain, first, second, one)
    return None


def _told_apart(
    record: _Recorder, plain: _Pass, first: nn.Module, second: nn.Module, push: Stream
) -> Sublayers | None:
    """The two modules, the one that runs first given first, as attention and MLP."""
    earlier = plain.before.clone()
    earlier[:, :-1] = earlier[:, :-1].flip(0)
    moved = record(interventions.replaced_input(record.block, earlier))
    mixing = [
        module
        for module in (first, second)
        if not _same(moved.given[module][:, -1], plain.given[module][:, -1])
    ]
    if not mixing:
        return None
    # What comes behind attention changes with it.
    attention, mlp = (first, second) if mixing[0] is first else (second, first)
    pushed = record(replaced(attention, push)).given[mlp]
    entered = record(
        interventions.replaced_input(record.block, plain.before + push),
        replaced(attention, torch.zeros_like(push)),
    ).given[mlp]
    return Sublayers(
        attention, mlp, has_middle=not _same(pushed, plain.given[mlp]) and _same(entered, pushed)
    )


def replaced(part: nn.Module, points: Tensor) -> AbstractContextManager[Firings]:
    """Hand on ``points`` in place of what the part gives."""
    return interventions.replaced_output(part, points)


def _sum(x: Tensor, a: Tensor, m: Tensor, wanted: Tensor) -> bool:
    rounding = _ROUNDINGS * torch.finfo(x.dtype).eps * (x.abs() + a.abs() + m.abs() + wanted.abs())
    return bool(((x + a + m - wanted).abs() <= rounding).all())


def _same(one: Tensor, other: Tensor) -> bool:
    limit = 1e-5 if one.dtype == torch.float64 else 1e-3
    return bool((one - other).abs().max() <= limit * other.abs().max())
