"""How matrix products with a model's weights are computed: as the model does, or in fewer bits."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plateau_lens._errors import ConfigError, nearest
from plateau_lens.models import interventions, onednn
from plateau_lens.models.snapshot import Snapshot

Matmul = Literal["full", "tf32", "bfloat16"]
MATMULS: tuple[Matmul, ...] = ("full", "tf32", "bfloat16")

COARSE = (
    "products in bfloat16 are for a first look: on SmolLM2-135M, 98 % of AP steps but only 50 % of MS steps were "
    "within one step of float32's (benchmarks/bfloat16.py); use model.matmul=full for numbers to report"
)
"""What a run in bfloat16 products tells its user."""


class Products:
    """Computes the products inside `computing` in fewer bits; the residual stream stays as wide as the model.

    * ``full``: as the model does; on a CPU perhaps by another library, to within rounding (see
      `plateau_lens.models.onednn`).
    * ``tf32``: float32 products of a CUDA device in TensorFloat-32 (10 bits of mantissa, float32 sums); the
      unembedding's stay in float32, since the base's own logits come from them.
    * ``bfloat16``: products with weight matrices take and give bfloat16 (8 bits of mantissa) and sum in float32.
      Norms, attention's own products, softmax and the residual stream keep the model's type.

    Args:
        model: the model; it is left as it is outside `computing`.
        matmul: which.

    Raises:
        ConfigError: for an unknown name, or one that the model's device or type has no use for.
    """

    def __init__(self, model: nn.Module, matmul: Matmul = "full"):
        parameter = next(model.parameters())
        if matmul not in MATMULS:
            raise ConfigError(
                f"matmul {matmul!r} is not one of {', '.join(MATMULS)}{nearest(matmul, MATMULS)}"
            )
        if matmul != "full" and parameter.dtype != torch.float32:
            raise ConfigError(
                f"matmul={matmul!r} needs a model in float32, this one is in {parameter.dtype}; use matmul='full'"
            )
        if matmul == "tf32" and parameter.device.type != "cuda":
            raise ConfigError("matmul='tf32' is a mode of CUDA devices; use 'full', or 'bfloat16'")
        self.model = model
        self.matmul = matmul
        self.device_type = parameter.device.type
        self._narrow: list[tuple[nn.Module, nn.Parameter]] = []
        self._made_of: Snapshot | None = None
        self.renew()

    def renew(self) -> None:
        """Make again what is made of the weights, if the model has changed since."""
        if self.matmul == "bfloat16" and (self._made_of is None or self._made_of.change()):
            self._made_of, self._narrow = Snapshot(self.model), _narrow_weights(self.model)

    @property
    def dtype(self) -> torch.dtype:
        """What the residual stream is computed in: the type of the model."""
        return next(p.dtype for p in self.model.parameters() if p.is_floating_point())

    @contextmanager
    def holding(self, module: nn.Module | None) -> Generator[None]:
        """Inside, the weights of ``module`` are as wide as the residual stream, for whoever takes them himself."""
        yield

    def weight_of(self, module: nn.Linear) -> Tensor:
        """The weights that products with ``module`` take inside `computing`."""
        return next((weight for swapped, weight in self._narrow if swapped is module), module.weight)

    def product(self, x: Float[Tensor, "row d_in"], weight: Float[Tensor, "d_out d_in"]) -> Tensor:
        """``x weight^T``, weights being some of `weight_of`."""
        return onednn.product(x, weight) if onednn.usable(weight) else x @ weight.T

    @contextmanager
    def computing(self) -> Generator[None]:
        """Whatever the model computes inside is computed this way."""
        with ExitStack() as stack:
            if self.matmul == "full":
                for module in self.model.modules():
                    if (forward := onednn.stand_in(module)) is not None:
                        stack.enter_context(interventions.forwarding(module, forward))
            if self.matmul == "tf32":
                stack.enter_context(_precision("tf32"))
            if self.matmul == "bfloat16":
                stack.enter_context(_swapped(self._narrow))
                stack.enter_context(torch.autocast(self.device_type, torch.bfloat16, cache_enabled=False))
            yield


def _narrow_weights(model: nn.Module) -> list[tuple[nn.Module, nn.Parameter]]:
    """Every matrix that a product takes, in bfloat16: once, since casting it costs as much as a small product."""
    from transformers.pytorch_utils import Conv1D

    narrow: dict[int, nn.Parameter] = {}
    found: list[tuple[nn.Module, nn.Parameter]] = []
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D):
            weight = module.weight
            if id(weight) not in narrow:
                narrow[id(weight)] = nn.Parameter(weight.to(torch.bfloat16), requires_grad=False)
            found.append((module, narrow[id(weight)]))
    return found


@contextmanager
def _swapped(weights: list[tuple[nn.Module, nn.Parameter]]) -> Generator[None]:
    before = [module.weight for module, _ in weights]
    try:
        for module, weight in weights:
            module.weight = weight
        yield
    finally:
        for (module, _), weight in zip(weights, before, strict=True):
            module.weight = weight


def float32_products() -> AbstractContextManager[None]:
    """Inside, float32 products of a CUDA device are float32's to the last digit, whatever is set outside."""
    return _precision("ieee")


@contextmanager
def _precision(name: str) -> Generator[None]:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = name
    try:
        yield
    finally:
        matmul.fp32_precision = before
