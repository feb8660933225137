"""The least arithmetic that a curve takes: floating-point operations of the suffix and the unembedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from plateau_lens._errors import EngineError
from plateau_lens.models.suffix import SuffixEngine


class SuffixFlops(NamedTuple):
    """Floating-point operations of one curve; a multiplication and an addition count as two."""

    matrices: int
    attention: int
    unembedding: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def suffix_flops(engine: SuffixEngine, *, n_ctx: int, n_points: int) -> SuffixFlops:
    """Operations without which L2 and KL of ``n_points`` points cannot be had by matrix products.

    * matrices: ``n_points * 2 * sum |W|`` over the weight matrices of the blocks from the site on;
    * attention: ``n_points * 4 * d_attention * n_ctx`` a block: scores and mixture of ``n_ctx`` keys (the
      prefix's and a point's own) with ``d_attention = heads * d_head``; a sliding window shorter than the
      prompt would take less;
    * unembedding: ``n_points * 2 * d_model * vocab``.

    Norms, activation functions, softmax and the sums over the vocabulary are not matrix products and not
    counted; the prefix is not either.

    Raises:
        EngineError: for blocks with stacked experts, of which a point passes through some, and for an
            unembedding that is not one matrix.
    """
    blocks = list(engine.blocks)[engine.site.boundary :]
    config = engine.model.config.get_text_config()
    heads = config.num_attention_heads
    d_attention = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return SuffixFlops(
        matrices=2 * n_points * sum(matrix.numel() for matrix in block_matrices(engine)),
        attention=4 * n_points * len(blocks) * d_attention * n_ctx,
        unembedding=2 * n_points * unembedding(engine).numel(),
    )


def block_matrices(engine: SuffixEngine) -> Iterator[Tensor]:
    """Weights [in, out] of the blocks from the site on, as a view of each whichever way it is stored."""
    from transformers.pytorch_utils import Conv1D

    for block in list(engine.blocks)[engine.site.boundary :]:
        if any(parameter.ndim > 2 for parameter in block.parameters()):
            raise EngineError(
                f"{type(block).__name__} has stacked weights (experts); the limit is known for dense blocks alone"
            )
        for module in block.modules():
            if isinstance(module, nn.Linear):
                yield module.weight.T
            elif isinstance(module, Conv1D):
                yield module.weight


def unembedding(engine: SuffixEngine) -> Tensor:
    """The unembedding's weight [d_model, vocab]."""
    head = engine.model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise EngineError(
            f"the unembedding of {type(engine.model).__name__} is not one matrix; its limit is not known"
        )
    return head.weight.T
