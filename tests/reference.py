"""Slow, literal transcriptions of the paper's formulas over plain Python lists: what every fast version must equal.

One rollout at a time: `q` and `v` are lists of its L actions, without padding. Nothing here is shared with the
package, and nothing uses the telescoped form that the package rests on.
"""

from collections.abc import Sequence


def reward_to_go(q: Sequence[float], v: Sequence[float]) -> list[float]:
    """G_t of Eq. 10: the sum of r_i = q_i - v_{i+1} from i = t on, where v is 0 after the last action."""
    last = len(q) - 1
    rewards = [q[i] - (v[i + 1] if i < last else 0.0) for i in range(len(q))]
    return [sum(rewards[t:]) for t in range(len(q))]


def algorithm_1(q: Sequence[float], v: Sequence[float], k: int) -> list[float]:
    """Algorithm 1's backward loop, with its names: T is the index of the last action."""
    last = len(q) - 1
    g_hat = [0.0] * len(q)
    for t in range(last, -1, -1):
        if t == last:
            g_hat[t] = q[t]
        elif last - t < k:
            g_hat[t] = (q[t] - v[t + 1]) + g_hat[t + 1]
        else:
            g_hat[t] = (q[t] - v[t + k]) + g_hat[t + k]
    return g_hat


def equation_7(q: Sequence[float], v: Sequence[float], k: int) -> list[float]:
    """Segments of K actions up to floor((T - t) / K), as Eq. 20 has it; a state past the end has value 0."""
    last = len(q) - 1
    g_hat = []
    for t in range(len(q)):
        total = 0.0
        for i in range((last - t) // k + 1):
            reached = t + (i + 1) * k
            total += q[t + i * k] - (v[reached] if reached <= last else 0.0)
        g_hat.append(total)
    return g_hat


def k_step_returns(q: Sequence[float], v: Sequence[float], k: int, tail: str) -> list[float]:
    """The transcription that belongs to the tail."""
    return {"segment": equation_7, "one-step": algorithm_1}[tail](q, v, k)


def returns_in(world, rollout: Sequence[int], k: int, tail: str) -> list[float]:
    """Those of a rollout in a world of `ketchup.maths.tabular`."""
    return k_step_returns(*world.values(rollout), k, tail)


def visited(length: int, t: int, k: int, tail: str) -> list[int]:
    """The positions whose values a K-step return from t looks at, as a walk through a rollout of that length.

    The walk goes K actions ahead while it can. When fewer than K are left, `segment` leaves the rollout and
    `one-step` walks on one by one.
    """
    positions, step = [], k
    while t < length:
        positions.append(t)
        if tail == "one-step" and t + step >= length:
            step = 1
        t += step
    return positions


def skipped_advantages(q: Sequence[float], v: Sequence[float], k: int, tail: str) -> list[float]:
    """Eq. 27, the sum of the advantages a K-step return leaves out: those where its walk does not set foot."""
    totals = []
    for t in range(len(q)):
        on_the_way = visited(len(q), t, k, tail)
        totals.append(sum(q[i] - v[i] for i in range(t, len(q)) if i not in on_the_way))
    return totals


def unbiased_variance(values: Sequence[float]) -> float:
    """Half the mean squared difference of all ordered pairs of distinct values; needs no mean."""
    n = len(values)
    return sum((x - y) ** 2 for x in values for y in values) / 2 / (n * (n - 1))


def unbiased_covariance(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The same for two quantities of the same rollouts."""
    n = len(xs)
    products = ((xs[i] - xs[j]) * (ys[i] - ys[j]) for i in range(n) for j in range(n))
    return sum(products) / 2 / (n * (n - 1))


def clipped_returns(q: Sequence[float], v: Sequence[float], k: int, tail: str, limit: float) -> list[float]:
    """K-step returns whose step rewards are clipped one by one, as the walk meets them."""
    found = []
    for t in range(len(q)):
        on_the_way = visited(len(q), t, k, tail)
        total = 0.0
        for here, there in zip(on_the_way, [*on_the_way[1:], len(q)], strict=True):
            reward = q[here] - (v[there] if there < len(q) else 0.0)
            total += max(-limit, min(limit, reward))
        found.append(total)
    return found
