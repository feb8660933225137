"""Counts unembeddings where they happen: operations whose result is as wide as the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from plateau_lens.bench.paths import Paths
from plateau_lens.glossary import Response
from plateau_lens.models.suffix import SuffixEngine

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul")


class _WideProducts(TorchDispatchMode):
    """Counts matrix products with ``width`` columns, whoever calls them."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.count += name in PRODUCTS and isinstance(result, Tensor) and result.shape[-1] == self.width
        return result


def unembeddings(engine: SuffixEngine, paths: Paths, responses: tuple[Response, ...]) -> int:
    """Matrix products that give logits, in one curve of the given responses."""
    prefix = engine.prefix(paths.tokens[:1])
    with _WideProducts(engine.model.config.get_text_config().vocab_size) as products:
        engine.respond(prefix, paths.points[0, :1], responses)
    return products.count
