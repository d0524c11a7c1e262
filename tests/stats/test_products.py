"""Products of expected vectors: unbiased, with intervals that cover, from vectors whose moments are known."""

import numpy as np
import pytest

from ketchup_eval.stats.products import Mean, Product, batch_cosine, cosine, estimate, noise, root, signal_to_noise

SIZE, SAMPLES = 12, 4


def drawn(random, inputs, mean, spread_of_inputs=1.0, spread=2.0):
    """Vectors x[i, n] = mean + a_i + b_in with normal a and b; mean vectors of inputs and mean squared norms."""
    shift = random.normal(size=(inputs, 1, SIZE)) * spread_of_inputs
    single = mean + shift + random.normal(size=(inputs, SAMPLES, SIZE)) * spread
    return single.mean(1), (single**2).sum(2).mean(1)


def test_a_product_is_the_mean_over_pairs_of_different_inputs():
    """The definition, pair by pair."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 7, SIZE))
    pairs = [x[i] @ y[j] for i in range(7) for j in range(7) if i != j]
    assert Product(x @ y.T).at(np.full(7, 1 / 7))[0] == pytest.approx(np.mean(pairs))


def test_its_derivative_is_that_of_its_value():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(2, 7, SIZE))
    weights = random.dirichlet(np.ones(7))
    product = Product(x @ y.T)
    value, derivative = product.at(weights)
    for place in range(7):
        moved = weights.copy()
        moved[place] += 1e-6
        assert (product.at(moved)[0] - value) / 1e-6 == pytest.approx(derivative[place], rel=1e-4, abs=1e-5)


def test_a_true_zero_is_zero_on_average():
    """The square of the plain mean would be 12 (1 + 4 / 4) / 10 = 2.4 on average."""
    random = np.random.default_rng(2)
    found = []
    for _ in range(2000):
        x, _ = drawn(random, 10, np.zeros(SIZE))
        found.append(Product(x @ x.T).at(np.full(10, 0.1))[0])
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / 2000**0.5)
    assert np.std(found) / 2000**0.5 < 0.03


@pytest.mark.parametrize("angle", [0.6, 1.0])
def test_intervals_cover(angle):
    """93% of 500 simulations at least, not all: cosine, noise, signal to noise and the cosine of a batch of 64."""
    random = np.random.default_rng(3)
    mean, aim = np.zeros(SIZE), np.zeros(SIZE)
    mean[0], aim[0], aim[1] = 2.0, 3 * np.cos(angle), 3 * np.sin(angle)
    trace = SIZE * (1 + 4)
    truth = {
        "cosine": np.cos(angle),
        "noise": trace,
        "signal": 4 / trace,
        "batch": 6 * np.cos(angle) / np.sqrt((4 + trace / 64) * 9),
    }
    held = dict.fromkeys(truth, 0)
    n = 120
    for _ in range(500):
        x, square = drawn(random, n, mean)
        y, _ = drawn(random, n, aim)
        xx, xy, yy, size = Product(x @ x.T), Product(x @ y.T), Product(y @ y.T), Mean(square)
        found = {
            "cosine": estimate(cosine, (xx, xy, yy), n),
            "noise": estimate(noise, (xx, size), n, "log"),
            "signal": estimate(signal_to_noise, (xx, size), n, "log"),
            "batch": estimate(batch_cosine(64), (xx, xy, yy, size), n),
        }
        for name, one in found.items():
            held[name] += one.low <= truth[name] <= one.high
    assert {name: count for name, count in held.items() if not 465 <= count <= 494} == {}


def test_the_cosine_of_a_batch_is_the_mean_cosine_where_noise_has_many_directions():
    """Batches of 8 in 400 dimensions: the definition beside 2,000 drawn batches."""
    random = np.random.default_rng(4)
    mean, aim = np.zeros(400), np.zeros(400)
    mean[0], aim[0], aim[1] = 5.0, 1.0, 0.5
    batches = mean + random.normal(size=(2000, 8, 400)).mean(1)
    drawn_cosines = batches @ aim / np.linalg.norm(batches, axis=1) / np.linalg.norm(aim)
    assert batch_cosine(8)(25, 5, 1.25, 25 + 400) == pytest.approx(drawn_cosines.mean(), abs=0.005)


def test_what_cannot_be_told_is_absent():
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5]])
    found = estimate(cosine, [Product(x @ x.T)] * 3, 3)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert np.isnan(root(-1.0))
