"""The registry of responses: how far the model's output has moved from the unperturbed base, step by step.

A new response is a class with one method::

    from plateau_lens import Response, response

    @response("max-logit")
    class MaxLogit(Response):
        "How far the largest logit has moved."
        symbol, title, axis, unit, reads = "ML", "Largest logit", "largest logit, moved by", "logits", "logits"
        least_slope = 1e-3

        def of(self, seen):  # [pair, step, vocab]
            top = seen.amax(dim=-1)
            return (top - top[:, :1]).abs()

What a response says of itself needs no torch: the report reads it without loading any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, cast

from plateau_lens._errors import ConfigError
from plateau_lens._registry import Described, Registry

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from plateau_lens.models.products import Products
    from plateau_lens.models.unembedding import Unembedding

Reads = Literal["state", "final", "logits"]
"""``state``: the residual stream at a read site; ``final``: the last states, behind the final norm; ``logits``: the
next-token logits of those."""


class Response(Described):
    """One response. Fields are its parameters; `of` measures what the engine read."""

    symbol: ClassVar[str] = ""
    """What figures and tables call it, e.g. ``L2``; the name in capitals unless given."""
    title: ClassVar[str] = ""
    """What it is, in a few words."""
    axis: ClassVar[str] = ""
    """Label of an axis, with its unit."""
    unit: ClassVar[str] = ""
    """What it is counted in, e.g. ``nats``."""
    reads: ClassVar[Reads] = "state"
    """What `of` is given."""
    least_slope: ClassVar[float | Literal["auto"]] = "auto"
    """Slope below which a rise is none, response units a step; ``auto``: a small share of what a run's paths reach."""
    noise: ClassVar[float] = 0.0
    """Size below which a value is rounding of a float32 model, in `unit`."""

    def of(self, seen: Float[Tensor, "pair step width"]) -> Float[Tensor, "pair step"]:
        """The response at every step, 0 at step 0; whatever its type, it is kept in float64.

        Args:
            seen: what `reads` says; others read it too, so leave it as it is. States of d_model are of the model's own
                type, a residual stream's centred where the engine centres; logits are float32 or wider.
        """
        raise NotImplementedError

    def fast(
        self, final: Float[Tensor, "pair step d_model"], unembedding: Unembedding, products: Products
    ) -> Float[Tensor, "pair step"] | None:
        """The same from final states without whole logits, or None where there is no such way.

        A response that reads logits may have one. The engine holds it against `of` before it uses it, and uses `of`
        where they differ.
        """
        return None

    def resolve(self, read_site: str) -> Response:
        """The same with every parameter that is ``auto`` written out, given the full name of where it reads."""
        return self

    @property
    def read_site(self) -> str:
        """Where a response that reads a ``state`` reads it; ``auto``: the run's read site."""
        return "auto"

    @property
    def short(self) -> str:
        """`symbol`, or what stands for it."""
        return self.symbol or self.name.upper()

    @property
    def heading(self) -> str:
        """`title`, or what stands for it."""
        return self.title or self.short

    @property
    def y_label(self) -> str:
        """`axis`, or what stands for it."""
        return self.axis or (f"{self.heading} ({self.unit})" if self.unit else self.heading)


def measured(label: str, found: object, shape: tuple[int, int]) -> Tensor:
    """What a response returned, which one of the user's own may have made anything of.

    Raises:
        ConfigError: if it is not one number a pair and step.
    """
    import torch

    if isinstance(found, torch.Tensor) and tuple(found.shape) == shape and not found.is_complex():
        return found
    what = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
    raise ConfigError(f"response {label!r} returned {what}, expected a torch tensor {shape} (pair, step)")


C = TypeVar("C", bound=type[Response])
RESPONSES: Registry[Response] = Registry("response", "plateau_lens.responses")


Responses = Sequence[str] | Mapping[str, Response]
"""Responses to measure: registered names, or responses by label."""


def asked_for(responses: Responses) -> dict[str, Response]:
    """Responses by label; a name is the label of its response with default parameters.

    Raises:
        ConfigError: naming every name that nothing is registered under, with the nearest legal one; for one name that
            is not in a list; for what is no response.
    """
    if isinstance(responses, str):
        raise ConfigError(f"{responses!r} is one name; pass a list of names, [{responses!r}]")
    if isinstance(responses, Mapping):
        for label, given in responses.items():
            if not isinstance(cast("object", given), Response):
                raise ConfigError(f"response {label!r} is a {type(given).__name__}, not a Response")
        return dict(responses)
    return RESPONSES.make({name: {} for name in responses})


def response(name: str) -> Callable[[C], C]:
    """Register a `Response` subclass under ``name``."""
    return RESPONSES.add(name)
