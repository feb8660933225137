"""Which latents fire, how strongly and which together: the codes of many activations, kept where they are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csc_array, csr_array

    from plateau_lens.saes.dictionary import Dictionary

_CHUNK = 512
"""Activations encoded at a time: no code is held densely for longer."""


@dataclass(frozen=True)
class Firing:
    """Where a dictionary's latents fire on some activations; encoded when first asked for."""

    dictionary: Dictionary
    activations: Float[Tensor, "row d_model"]

    @cached_property
    def _values(self) -> csc_array:
        """``[row, d_sae]``, the codes."""
        from scipy.sparse import csc_array, csr_array, vstack

        codes = (self.dictionary.encode(chunk) for chunk in self.activations.split(_CHUNK))
        return csc_array(vstack([csr_array(code.cpu().numpy()) for code in codes], format="csc"))

    @cached_property
    def _fired(self) -> csr_array:
        """``[row, d_sae]``, 1 where a latent is active."""
        from scipy.sparse import csc_array

        found = self._values
        ones = np.ones(found.data.size, dtype=np.int64)
        return csc_array((ones, found.indices, found.indptr), shape=found.shape).tocsr()

    def values(self, latent: int) -> Float[np.ndarray, " activation"]:
        """Those of one latent wherever it fires, in the order of the activations."""
        first, behind = self._values.indptr[latent : latent + 2]
        return self._values.data[first:behind]

    @cached_property
    def count(self) -> Int[Tensor, " d_sae"]:
        """On how many of the activations each latent fires."""
        return torch.from_numpy(self._fired.sum(axis=0)).to(self.activations.device)

    def together(self, latents: Int[Tensor, " latent"]) -> Bool[Tensor, "latent d_sae"]:
        """Which latents fire together with each given one: on more activations than if they were independent.

        ``n(i, j) N > n(i) n(j)`` with ``n`` the number of activations on which both, or one, of them fire and
        ``N`` that of all. No latent fires together with itself.
        """
        columns = self._fired[:, latents.cpu().numpy()]
        joint = torch.from_numpy((columns.T @ self._fired).toarray()).to(self.count)
        more = joint * len(self.activations) > self.count[latents, None] * self.count
        return more.scatter(1, latents[:, None], False)
