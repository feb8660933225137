"""Model-generated, random and reconstructed activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plateau_lens import ConfigError, Dictionary, PairBlock, load_dictionary
from plateau_lens.activations.population import Population, rng
from plateau_lens.activations.registry import make_kinds


def block_of(
    population: Population, pair: np.ndarray, *, dictionary: Dictionary | None = None, hop: int = 1
) -> PairBlock:
    others = population.others(pair, np.full(len(pair), hop))
    return PairBlock(
        pair=pair,
        base=population.activations[torch.from_numpy(pair)],
        other=population.activations[torch.from_numpy(others)],
        population=population,
        dictionary=dictionary,
        top_cosine=0.3,
        seed=population.seed,
    )


class TestOthers:
    @pytest.mark.parametrize("n", [2, 3, 10, 101])
    @pytest.mark.parametrize("seed", range(5))
    def test_never_ones_own_and_never_twice(self, n: int, seed: int):
        population = Population(torch.zeros(n, 4), seed)
        prompts = np.arange(n)
        drawn = []
        for hop in range(1, n):
            others = population.others(prompts, np.full(n, hop))
            assert sorted(others) == list(range(n)), "without replacement"
            assert not (others == prompts).any()
            drawn.append(others)
        for prompt in range(n):
            assert len({others[prompt] for others in drawn}) == n - 1

    def test_does_not_depend_on_who_else_is_asked_about(self):
        population = Population(torch.zeros(50, 4), 3)
        everyone = population.others(np.arange(50), np.ones(50, dtype=int))
        for some in ([7], [3, 49, 0], [10, 11, 12]):
            assert population.others(np.array(some), np.ones(len(some), dtype=int)).tolist() == [
                everyone[i] for i in some
            ]

    def test_every_other_is_equally_likely(self):
        # Over 4000 seeds, which of 7 others does prompt 2 of 8 get? Each expected 571 times; chi-square with
        # 6 degrees of freedom has mean 6 and standard deviation 3.5.
        counts = np.zeros(8)
        for seed in range(4000):
            counts[Population(torch.zeros(8, 1), seed).others(np.array([2]), np.array([1]))[0]] += 1
        assert counts[2] == 0
        expected = 4000 / 7
        assert ((np.delete(counts, 2) - expected) ** 2 / expected).sum() < 6 + 5 * 3.5


def test_model_generated_is_the_others_activation():
    population = Population(torch.randn(20, 6, generator=torch.Generator().manual_seed(0)), 1)
    block = block_of(population, np.arange(12))
    drawn = (
        make_kinds({"model-generated": {}})["model-generated"].make(block, "kind:model-generated").activation
    )
    assert torch.equal(drawn, block.other)
    assert not (drawn == block.base).all(dim=-1).any()


@pytest.fixture(scope="module")
def population() -> Population:
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(6, 6, generator=generator)
    rows = torch.rand(80, 6, generator=generator) ** 2 @ mixing + torch.arange(6.0)
    return Population(rows, seed=5)


class TestRandom:
    def draw(self, population: Population, pair: np.ndarray, purpose: str = "kind:random") -> torch.Tensor:
        return make_kinds({"random": {}})["random"].make(block_of(population, pair % 80), purpose).activation

    def draws(self, population: Population, n: int) -> np.ndarray:
        return population.gaussian([rng(5, "x", i) for i in range(n)]).double().numpy()

    def test_mean_and_covariance_are_the_populations(self, population: Population):
        n = 40_000
        found = self.draws(population, n)
        rows = population.activations.double().numpy()
        mean, covariance = rows.mean(axis=0), np.cov(rows, rowvar=False)
        sd = np.sqrt(np.diag(covariance))
        assert (np.abs(found.mean(axis=0) - mean) / (sd / np.sqrt(n))).max() < 5
        # The standard error of a normal sample's covariance: sqrt((c_ij^2 + c_ii c_jj) / n).
        error = np.sqrt((covariance**2 + np.outer(sd**2, sd**2)) / n)
        assert (np.abs(np.cov(found, rowvar=False) - covariance) / error).max() < 5

    def test_they_are_normal(self, population: Population):
        from scipy.stats import kstest

        found = self.draws(population, 5000)
        rows = population.activations.double().numpy()
        for axis in range(6):
            scaled = (found[:, axis] - rows[:, axis].mean()) / rows[:, axis].std(ddof=1)
            assert kstest(scaled, "norm").pvalue > 1e-4

    def test_the_linear_map_is_exact(self, population: Population):
        # A draw is mean + g M with M M^T's covariance: M^T M must be the sample covariance to rounding.
        rows = population.activations.double().numpy()
        m = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
        np.testing.assert_allclose(m.T @ m, np.cov(rows, rowvar=False), rtol=0, atol=1e-12)
        one = population.gaussian([rng(1, "a", 0)]).double().numpy()[0]
        g = rng(1, "a", 0).standard_normal(80)
        np.testing.assert_allclose(one, population.mean.numpy() + g @ m, rtol=0, atol=1e-5)

    def test_fitted_to_the_first_rows_alone(self, population: Population):
        few = make_kinds({"random": {"rows": 20}})["random"]
        found = few.make(block_of(population, np.arange(30)), "kind:random").activation
        alone = Population(population.activations[:20], seed=5)
        wanted = self.draw(alone, np.arange(30) % 20)
        # Pairs 0..19 have prompts of their own in both populations; a draw depends on the pair and the rows alone.
        assert torch.equal(found[:20], wanted[:20])
        assert not torch.equal(found[:20], self.draw(population, np.arange(20)))
        everyone = make_kinds({"random": {"rows": 80}})["random"]
        block = block_of(population, np.arange(5))
        assert torch.equal(
            everyone.make(block, "x").activation,
            make_kinds({"random": {}})["random"].make(block, "x").activation,
        )

    def test_more_rows_than_there_are(self, population: Population):
        many = make_kinds({"random": {"rows": 81}})["random"]
        with pytest.raises(ConfigError, match="the first 81 rows of a population of 80: it has no more"):
            many.make(block_of(population, np.arange(5)), "x")
        with pytest.raises(ConfigError, match="rows"):
            make_kinds({"random": {"rows": 1}})

    def test_a_singular_covariance_needs_no_repair(self):
        # Fewer rows than dimensions, and mean-free rows: draws stay in the rows' affine span.
        rows = torch.randn(10, 40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        rows = rows - rows.mean(dim=-1, keepdim=True)
        population = Population(rows, seed=0)
        found = population.gaussian([rng(0, "x", i) for i in range(50)])
        assert found.mean(dim=-1).abs().max() < 1e-12
        deviations = rows - rows.mean(dim=0)
        projector = torch.linalg.pinv(deviations) @ deviations
        off = found - rows.mean(dim=0)
        assert (off - off @ projector).abs().max() < 1e-10

    def test_a_pairs_draw_is_its_own(self, population: Population):
        together = self.draw(population, np.arange(10))
        for i in (0, 3, 9):
            alone = self.draw(population, np.array([i]))
            torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-5)
        assert len({tuple(row) for row in together.tolist()}) == 10
        assert not torch.equal(together, self.draw(population, np.arange(10), "from-target"))

    def test_the_seed_decides(self, population: Population):
        other = Population(population.activations, seed=6)
        assert not torch.equal(self.draw(population, np.arange(5)), self.draw(other, np.arange(5)))


def test_generators_differ_by_every_part_of_their_key():
    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "ab", 0), (97, "", 0), (0, "", 97)]
    first = [float(rng(*key).standard_normal()) for key in keys]
    assert len(set(first)) == len(keys)
    assert first == [float(rng(*key).standard_normal()) for key in keys]


def test_reconstruction_is_of_the_target(tiny_sae_folder, tiny_activations: torch.Tensor):
    dictionary = load_dictionary(str(tiny_sae_folder))
    block = block_of(Population(tiny_activations, 0), np.arange(8), dictionary=dictionary)
    drawn = make_kinds({"sae-reconstruction": {}})["sae-reconstruction"].make(block, "x").activation
    with torch.no_grad():
        wanted = dictionary.sae.decode(dictionary.sae.encode(block.other))
    assert torch.equal(drawn, wanted)
