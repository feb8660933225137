from __future__ import annotations

import pytest
import torch

from plateau_lens import ResourceError
from plateau_lens.saes.neighbours import nearest_in_frequency, nearest_unused


def gaps(frequency: torch.Tensor, latent: int, others: torch.Tensor) -> list[float]:
    return (frequency[others] - frequency[latent]).abs().tolist()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_brute_force(seed: int, k: int, ties: bool):
    generator = torch.Generator().manual_seed(seed)
    d_sae = 150
    frequency = torch.rand(d_sae, generator=generator, dtype=torch.float64) ** 4
    if ties:
        # As measured on few prompts: many latents that fired equally often.
        frequency = (frequency * 20).round() / 20 + 0.01
    alive = torch.rand(d_sae, generator=generator) < 0.8
    latents = torch.arange(d_sae)
    found = nearest_in_frequency(
        frequency, alive, latents, k=k, ties=torch.randperm(d_sae, generator=generator)
    )
    assert found.shape == (d_sae, k)
    for latent in range(d_sae):
        candidates = [j for j in range(d_sae) if alive[j] and j != latent]
        wanted = sorted(abs(float(frequency[j] - frequency[latent])) for j in candidates)[:k]
        assert gaps(frequency, latent, found[latent]) == pytest.approx(wanted, abs=0), "nearest first"
        row = found[latent].tolist()
        assert len(set(row)) == k
        assert set(row) <= set(candidates)
        if not ties:
            assert row == sorted(candidates, key=lambda j: abs(float(frequency[j] - frequency[latent])))[:k]


def test_by_hand():
    frequency = torch.tensor([0.10, 0.50, 0.11, 0.13, 0.40, 0.12], dtype=torch.float64)
    alive = torch.tensor([True, True, True, True, True, False])
    # Of 0 (0.10): 2 at 0.01, 3 at 0.03, 4 at 0.30; 5 would be at 0.02, but it is dead. Of the dead 5 itself:
    # 2 and 3 at 0.01, and 0 at 0.02.
    found = nearest_in_frequency(frequency, alive, torch.tensor([0, 5]), k=3, ties=torch.arange(6))
    assert found[0].tolist() == [2, 3, 4]
    assert set(found[1, :2].tolist()) == {2, 3}
    assert found[1, 2] == 0


def test_all_others_when_just_enough_are_alive():
    frequency = torch.linspace(0, 1, 11, dtype=torch.float64) + 0.1
    everyone, latents = torch.ones(11, dtype=torch.bool), torch.tensor([0, 5, 10])
    found = nearest_in_frequency(frequency, everyone, latents, k=10, ties=torch.arange(11))
    for row, latent in zip(found.tolist(), [0, 5, 10], strict=True):
        assert sorted([*row, latent]) == list(range(11))


def test_too_few_alive():
    frequency = torch.rand(20, dtype=torch.float64)
    alive = torch.arange(20) < 10
    with pytest.raises(
        ResourceError, match="10 latents are alive, but 10 neighbours of one of them are needed"
    ):
        nearest_in_frequency(frequency, alive, torch.tensor([0]), k=10, ties=torch.arange(20))


def test_no_latents_asked_for():
    frequency = torch.rand(20, dtype=torch.float64)
    nothing = torch.zeros(0, dtype=torch.long)
    found = nearest_in_frequency(frequency, frequency >= 0, nothing, k=3, ties=torch.arange(20))
    assert found.shape == (0, 3)


def test_latents_of_equal_frequency_stand_in_the_order_of_the_ties():
    # Two groups of three. In the order of ties 3 1 5 and 2 0 4; the neighbours of 1 are those beside it, not 3 and 5
    # by index alone, and 2, the first of the other group, before 0 and 4.
    frequency = torch.tensor([0.5, 0.1, 0.5, 0.1, 0.5, 0.1], dtype=torch.float64)
    ties = torch.tensor([4, 1, 3, 0, 5, 2])
    everyone = torch.ones(6, dtype=torch.bool)
    found = nearest_in_frequency(frequency, everyone, torch.tensor([1]), k=3, ties=ties)
    assert found[0].tolist() == [3, 5, 2]
    found = nearest_in_frequency(frequency, everyone, torch.tensor([1]), k=3, ties=5 - ties)
    assert found[0].tolist() == [5, 3, 4]


def test_the_nearest_unused_of_equally_near_ones():
    frequency = torch.tensor([0.3, 0.2, 0.4, 0.2, 0.9], dtype=torch.float64)
    free = torch.tensor([True, True, False, True, True])
    # 1 and 3 are both 0.1 from latent 0.
    nearest = torch.tensor(0)
    assert nearest_unused(nearest, frequency, free, ties=torch.tensor([0, 4, 1, 3, 2])) == 3
    assert nearest_unused(nearest, frequency, free, ties=torch.tensor([0, 3, 1, 4, 2])) == 1
