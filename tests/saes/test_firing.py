from __future__ import annotations

import torch

from plateau_lens import Dictionary, load_dictionary
from plateau_lens.saes import firing
from plateau_lens.saes.firing import Firing


class Table:
    """Stands for a dictionary whose codes are given: an activation is the number of its code."""

    def __init__(self, codes: torch.Tensor):
        self.codes, self.d_sae, self.asked = codes, codes.shape[1], []

    def encode(self, activations: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(activations))
        return self.codes[activations[:, 0].long()]


def fire(codes: torch.Tensor) -> tuple[Firing, Table]:
    table = Table(codes)
    return Firing(table, torch.arange(len(codes), dtype=torch.float32)[:, None]), table  # type: ignore[arg-type]


def test_by_hand():
    # Of 6 activations, latent 0 fires on 3, 1 on 2 of these, 2 on all, 3 on the other 3, 4 never.
    codes = torch.tensor(
        [[1, 1, 1, 0, 0], [2, 1, 1, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 2, 1, 0], [0, 0, 1, 3, 0]]
    ).float()
    found, _ = fire(codes)
    assert found.count.tolist() == [3, 2, 6, 3, 0]
    # 0 and 1: 2 * 6 > 3 * 2. 0 and 2: 3 * 6 = 3 * 6, as often as by chance. 0 and 3 never. 4 with nothing.
    together = found.together(torch.tensor([0, 2, 4, 1]))
    assert together[0].tolist() == [False, True, False, False, False]
    assert not together[1:3].any()
    assert together[3].tolist() == [True, False, False, False, False]


def test_equals_counting_one_by_one_and_is_symmetric():
    generator = torch.Generator().manual_seed(0)
    codes = (torch.rand(40, 25, generator=generator) < torch.rand(25, generator=generator)).float()
    found, _ = fire(codes)
    together = found.together(torch.arange(25))
    for i in range(25):
        for j in range(25):
            both = sum(bool(row[i]) and bool(row[j]) for row in codes)
            mine, yours = (sum(bool(row[k]) for row in codes) for k in (i, j))
            assert bool(together[i, j]) == (i != j and both * 40 > mine * yours)
    assert torch.equal(together, together.T)
    assert together.any()


def test_encodes_once_and_in_chunks():
    codes = torch.eye(1300)
    found, table = fire(codes)
    assert not table.asked, "nothing before it is asked for"
    for _ in range(2):
        assert found.count.tolist() == [1] * 1300
        assert not found.together(torch.arange(5)).any()
    assert sum(table.asked) == 1300
    assert max(table.asked) <= firing._CHUNK


def test_of_a_real_autoencoder(tiny_sae_folder, tiny_activations: torch.Tensor):
    dictionary: Dictionary = load_dictionary(str(tiny_sae_folder))
    found = Firing(dictionary, tiny_activations)
    assert found.count.tolist() == (dictionary.encode(tiny_activations) > 0).sum(dim=0).tolist()


def test_the_values_of_a_latent_are_those_with_which_it_fires():
    found, _ = fire(torch.tensor([[0.0, 2.5], [0.0, 0.0], [0.0, 1.5]]))
    assert found.values(1).tolist() == [2.5, 1.5]
    assert found.values(0).size == 0
