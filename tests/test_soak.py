"""What the soak says of a figure: that it grows when it does, and that it is flat when it goes up and down."""

import random

import pytest
from bench.soak import slope_of

SECONDS = [5.0 * number for number in range(200)]


def noise(seed: int) -> list[float]:
    chance = random.Random(seed)
    return [100 + chance.gauss(0, 2) for _ in SECONDS]


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_flat(seed: int) -> None:
    assert not slope_of(SECONDS, noise(seed)).grows


@pytest.mark.parametrize("seed", range(20))
def test_what_grows_by_a_fifth_in_an_hour_is_found(seed: int) -> None:
    values = [value + 20 * second / 3600 for second, value in zip(SECONDS, noise(seed), strict=True)]

    found = slope_of(SECONDS, values)

    assert found.grows
    assert found.per_hour == pytest.approx(20, abs=5 * found.error)


def test_what_is_steady_has_no_slope() -> None:
    assert slope_of(SECONDS, [7.0] * len(SECONDS)) == (7.0, 0.0, 0.0)
