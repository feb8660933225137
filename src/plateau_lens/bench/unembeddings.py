"""Counts unembeddings where they happen: products with its weights, or as wide as the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from plateau_lens.bench.flops import unembedding
from plateau_lens.bench.paths import Paths
from plateau_lens.models.suffix import SuffixEngine

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "_linear_pointwise")


class _Unembeddings(TorchDispatchMode):
    """Counts products with ``weight`` [d_model, vocab] or a part of it, and others as wide, whoever calls them."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = weight
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in PRODUCTS:
            shared = any(isinstance(given, Tensor) and self._is_part(given) for given in args)
            self.count += shared or result.shape[-1] == self.weight.shape[-1]
        return result

    def _is_part(self, given: Tensor) -> bool:
        return given.untyped_storage().data_ptr() == self.weight.untyped_storage().data_ptr()


def unembeddings(engine: SuffixEngine, paths: Paths, responses: tuple[str, ...]) -> int:
    """Matrix products that give logits, in one curve of the given responses."""
    prefix = engine.prefix(paths.tokens[:1])
    with _Unembeddings(unembedding(engine)) as found:
        engine.respond(prefix, paths.points[0, :1], responses)
    return found.count
