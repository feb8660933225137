"""Interventions on a decoder's blocks that count their firings and always come off."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from plateau_lens._errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Stop(Exception):
    """Nothing behind this point of the forward pass is needed."""


class Firings:
    """What one hook saw and how often it fired."""

    def __init__(self) -> None:
        self.count = 0
        self.seen: Tensor | None = None

    def require(self, what: str, times: int = 1) -> None:
        """Raise EngineError unless the hook fired ``times`` times."""
        if self.count != times:
            raise EngineError(
                f"{what} fired {self.count} times in one pass, expected {times}; nothing was measured"
            )

    def required(self, what: str) -> Tensor:
        """What the hook saw in its one firing; see `require`."""
        self.require(what)
        assert self.seen is not None
        return self.seen


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def output_of(result: Any) -> Tensor:
    """The stream: the first of the things that a block may return, or a decoder in an object."""
    return result if isinstance(result, Tensor) else result[0]


@contextmanager
def replaced_input(block: nn.Module, points: Tensor, *, position: int | None = None) -> Generator[Firings]:
    """Feed ``points`` to the block: all of its input, or one token ``position`` of it."""
    firings = Firings()

    def hook(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        firings.count += 1
        given = points
        if position is not None:
            given = _hidden(args, kwargs).clone()
            given[:, position] = points
        if args:
            return (given, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": given}

    with block.register_forward_pre_hook(hook, with_kwargs=True):
        yield firings


@contextmanager
def replaced_output(block: nn.Module, points: Tensor, *, position: int | None = None) -> Generator[Firings]:
    """Hand on ``points`` in place of what the block returns: of all of it, or of one token ``position``."""
    firings = Firings()

    def hook(_: nn.Module, __: Any, result: Any) -> Any:
        firings.count += 1
        given = (
            points.clone() if position is None else output_of(result).clone()
        )  # some models add to it in place
        if position is not None:
            given[:, position] = points
        return given if isinstance(result, Tensor) else (given, *result[1:])

    with block.register_forward_hook(hook):
        yield firings


@contextmanager
def read_input(block: nn.Module, *, position: int | slice, stop: bool = False) -> Generator[Firings]:
    """Keep the block's input at ``position``; with ``stop``, end the pass there (see `stoppable`)."""
    firings = Firings()

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        firings.count += 1
        firings.seen = _hidden(args, kwargs)[:, position].clone()
        if stop:
            raise Stop

    with block.register_forward_pre_hook(hook, with_kwargs=True):
        yield firings


@contextmanager
def read_output(
    block: nn.Module, *, position: int | slice = slice(None), stop: bool = False
) -> Generator[Firings]:
    """Keep the block's output at ``position``; with ``stop``, end the pass there (see `stoppable`)."""
    firings = Firings()

    def hook(_: nn.Module, __: Any, result: Any) -> None:
        firings.count += 1
        firings.seen = output_of(result)[:, position].clone()
        if stop:
            raise Stop

    with block.register_forward_hook(hook):
        yield firings


@contextmanager
def replaced_sum(
    block: nn.Module, part: nn.Module, points: Tensor, *, position: int | slice
) -> Generator[Firings]:
    """Have the block's input and what a part adds to it come to ``points`` at ``position``, by what the part gives."""
    firings = Firings()

    def hook(_: nn.Module, __: Any, result: Any) -> Any:
        firings.count += 1
        given = output_of(result).clone()
        given[:, position] = points - entering.required("reading a block's input")
        return given if isinstance(result, Tensor) else (given, *result[1:])

    with read_input(block, position=position) as entering, part.register_forward_hook(hook):
        yield firings


@contextmanager
def read_sum(
    block: nn.Module, part: nn.Module, *, position: int | slice, stop: bool = False
) -> Generator[Firings]:
    """Keep the sum of the block's input and of what a part of it gives; ``stop`` as of `read_input`."""
    firings = Firings()

    def hook(_: nn.Module, __: Any, result: Any) -> None:
        firings.count += 1
        firings.seen = entering.required("reading a block's input") + output_of(result)[:, position]
        if stop:
            raise Stop

    with read_input(block, position=position) as entering, part.register_forward_hook(hook):
        yield firings


@contextmanager
def ending(block: nn.Module) -> Generator[None]:
    """End the pass behind the block (see `stoppable`); hooks that were put on it before still fire."""

    def hook(*_: Any) -> None:
        raise Stop

    with block.register_forward_hook(hook):
        yield


@contextmanager
def stoppable() -> Generator[None]:
    """Swallow the end of a pass that a hook asked for."""
    try:
        yield
    except Stop:
        return


@contextmanager
def skipped(blocks: list[nn.Module], *, returns_tuple: bool) -> Generator[None]:
    """Let the blocks hand on their input untouched. They stay in the list, so layer indices stay right."""

    def identity(*args: Any, **kwargs: Any) -> Any:
        hidden = _hidden(args, kwargs)
        return (hidden, None) if returns_tuple else hidden

    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(forwarding(block, identity))
        yield


@contextmanager
def forwarding(module: nn.Module, stand_in: Callable[..., Any]) -> Generator[None]:
    """Run ``stand_in`` for the module's ``forward``, then put back what was there (a wrapper of others', say)."""
    before = module.__dict__.get("forward")
    module.forward = stand_in
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


@contextmanager
def configured(decoder: nn.Module, setting: str, value: str) -> Generator[None]:
    """Have a setting of the decoder's configuration be ``value``, then what it was; other parts' stay as they are."""
    config = decoder.config
    before = getattr(config, setting)
    setattr(config, setting, value)
    try:
        yield
    finally:
        setattr(config, setting, before)


def decoder_of(model: PreTrainedModel, blocks: nn.ModuleList) -> nn.Module:
    """The module that owns the list of blocks and ends with the final norm: the model less its unembedding.

    Raises:
        EngineError: if the model itself owns the blocks, so that its unembedding cannot be told apart, or if
            their owner does not embed tokens itself (an encoder's stack).
    """
    owner = next(module for module in model.modules() if any(child is blocks for child in module.children()))
    if owner is model:
        raise EngineError(f"{type(model).__name__} does not separate its decoder from its unembedding")
    embeddings = model.get_input_embeddings()
    if not any(module is embeddings for module in owner.modules()):
        raise EngineError(
            f"{type(model).__name__} keeps its token embeddings apart from its stack of blocks "
            f"({type(owner).__name__}), as encoders do; plateau-lens drives decoder-only models"
        )
    return owner
