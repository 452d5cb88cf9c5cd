"""Intervals and effect sizes, compared with plain loops and known values."""

import math

import numpy as np
import pytest

from dreambirds.evaluation.contrasts import FEWEST, bootstrap_mean, paired_difference


def test_an_interval_equals_a_plain_bootstrap():
    values = np.random.default_rng(3).gamma(2.0, size=30)
    mean, low, high = bootstrap_mean(values)
    rng = np.random.default_rng(11)
    means = sorted(sum(rng.choice(values, 30)) / 30 for _ in range(4000))
    assert mean == pytest.approx(sum(values) / 30)
    assert low == pytest.approx(means[100], rel=0.04) and high == pytest.approx(means[-100], rel=0.04)
    assert bootstrap_mean(values) == (mean, low, high), "deterministic"


def test_an_interval_contains_the_true_mean_about_as_often_as_nominal():
    rng = np.random.default_rng(0)
    contained = [low <= 5 <= high for low, high in (bootstrap_mean(rng.normal(5, 2, 40))[1:] for _ in range(100))]
    assert 86 <= sum(contained) <= 100


def test_few_values_have_no_interval():
    assert bootstrap_mean([0.5, math.nan])[0] == 0.5 and np.isnan(bootstrap_mean([0.5, math.nan])[1:]).all()
    assert np.isnan(bootstrap_mean([])).all() and bootstrap_mean([2, 2, 2]) == (2, 2, 2)


def test_differences_are_computed_per_pair():
    before = np.array([0.1, 0.2, 0.3, 0.4, 0.5, math.nan])
    after = before + np.array([0.1, 0.2, 0.1, 0.2, 0.1, 0.0])
    found = paired_difference(before, after)
    differences = [0.1, 0.2, 0.1, 0.2, 0.1]
    mean = sum(differences) / 5
    spread = math.sqrt(sum((each - mean) ** 2 for each in differences) / 4)
    assert (
        found.pairs == 5 == FEWEST
        and found.mean == pytest.approx(mean)
        and found.cohens_dz == pytest.approx(mean / spread)
    )
    reach = 2.7764 * spread / math.sqrt(5)  # Student's t with 4 degrees of freedom, from a table
    assert found.significant and found.ci_low == pytest.approx(mean - reach, rel=1e-4)
    assert found.ci_high == pytest.approx(mean + reach, rel=1e-4)
    assert not paired_difference(before[:4], after[:4]).significant, "four pairs are too few"


def test_no_difference_is_significant_where_there_is_none():
    rng = np.random.default_rng(1)
    before = rng.normal(size=200)
    assert not paired_difference(before, before + rng.normal(0, 1, 200)).significant
    assert paired_difference(before, before + rng.normal(0.5, 1, 200)).significant
    constant = paired_difference(np.zeros(8), np.full(8, 0.3))
    assert constant.significant and math.isnan(constant.cohens_dz), "all differences are the same"
    same = paired_difference(before, before)
    assert (same.mean, same.ci_low, same.ci_high, same.cohens_dz, same.significant) == (0, 0, 0, 0, False)


@pytest.mark.parametrize("pairs", [5, 8])
def test_few_pairs_give_a_false_positive_once_in_twenty_times(pairs):
    rng = np.random.default_rng(2)
    seen = sum(paired_difference(np.zeros(pairs), rng.normal(size=pairs)).significant for _ in range(2000))
    assert 0.035 < seen / 2000 < 0.065
