from __future__ import annotations

import torch

from plateau_lens.bench.structured import StructuredTargets, random_activations, random_dictionary


def test_codes_are_as_sparse_as_a_real_saes():
    dictionary = random_dictionary(768)
    assert (dictionary.d_sae, dictionary.d_model) == (24_576, 768)
    active = (dictionary.encode(random_activations(200, 768)) > 0).sum(dim=-1)
    assert 38 < active.double().mean() < 42
    assert ((active >= 20) & (active <= 60)).double().mean() > 0.98
    torch.testing.assert_close(dictionary.unit_decoder, dictionary.W_dec)


def test_every_target_is_built_whatever_the_block():
    dictionary = random_dictionary(64, d_sae=512, active=8)
    base = random_activations(23, 64)
    whole = StructuredTargets(dictionary, base, unit_size=23)()
    assert whole.shape == base.shape
    torch.testing.assert_close(StructuredTargets(dictionary, base, unit_size=10)(), whole)
    # Values are kept and latents are not: a target is as far from 0 as decoded codes are, and not the base's own.
    reconstructed = dictionary.decode(dictionary.encode(base))
    assert ((whole - reconstructed).norm(dim=-1) > 0.1).all()
