"""The formulas of docs/estimators.md, word for word over lists: one action of one rollout at a time.

A rollout is a dictionary of lists: q, v, logsumexp, log_prob, own_value and so on of its actions. A batch is a list of
inputs, each a list of its rollouts. Nothing here is shared with the package.
"""

import statistics

from tests import reference


def returns(text, rollout, other=None):  # noqa: PLR0911
    """The list of w_t of one rollout before any baseline; `other` is the one whose weights a shuffled placebo takes."""
    name, *given = text.split(":")
    q, v = rollout["q"], rollout["v"]
    length = len(q)
    a = [x - y for x, y in zip(q, v, strict=True)]
    match name:
        case "llmr":
            return reference.reward_to_go(q, v)
        case "k-step":
            return reference.k_step_returns(q, v, int(given[0]), given[1] if len(given) > 1 else "segment")
        case "shrink":
            return [q[t] + float(given[0]) * sum(a[t + 1 :]) for t in range(length)]
        case "discount":
            return [q[t] + sum(float(given[0]) ** (i - t) * a[i] for i in range(t + 1, length)) for t in range(length)]
        case "n-step":
            return [q[t] + sum(a[i] for i in range(t + 1, min(length, t + int(given[0])))) for t in range(length)]
        case "expected-future":
            own = [e - y for e, y in zip(rollout["own_value"], v, strict=True)]
            return [q[t] + sum(own[t + 1 :]) for t in range(length)]
        case "all-action":
            return [float(given[0]) * sum(a[t + 1 :]) for t in range(length)]
        case "soft":
            log_p = [x - y for x, y in zip(q, rollout["logsumexp"], strict=True)]
            return [sum(log_p[t:]) for t in range(length)]
        case "reverse-kl":
            gaps = [x - y - z for x, y, z in zip(q, rollout["logsumexp"], rollout["log_prob"], strict=True)]
            return [sum(float(given[0]) ** (i - t) * gaps[i] for i in range(t, length)) for t in range(length)]
        case "placebo" if given == ["constant"]:
            return [1.0] * length
        case "placebo":
            theirs = reference.reward_to_go(other["q"], other["v"])
            return [theirs[t] if t < len(theirs) else 0.0 for t in range(length)]
    raise AssertionError(f"{text} has no literal form here")


def batch_returns(text, batch):
    """Those of a whole batch, input by input, rollout by rollout."""
    return [[returns(text, rollout, rows[i - 1]) for i, rollout in enumerate(rows)] for rows in batch]


def weights(baseline, text, batch):
    """The weights of a batch under a baseline, in the same order; every reduction is a plain loop over the batch."""
    found = batch_returns(text, batch)
    everything = [x for rows in found for row in rows for x in row]
    return [
        [
            [weight(baseline, text, batch, found, everything, b, n, t) for t in range(len(row))]
            for n, row in enumerate(rows)
        ]
        for b, rows in enumerate(found)
    ]


def weight(baseline, text, batch, found, everything, b, n, t):  # noqa: PLR0911
    own = found[b][n][t]
    rollout = batch[b][n]
    others = [row for i, row in enumerate(found[b]) if i != n]
    match baseline:
        case "none":
            return own
        case "mean":
            return own - statistics.fmean(everything)
        case "mean-per-step":
            return own - statistics.fmean(row[t] for rows in found for row in rows if len(row) > t)
        case "min-variance":
            pairs = [
                (1 - 2 * 2.718281828459045**log_pi + collision, x)
                for inputs, rows in zip(batch, found, strict=True)
                for sample, row in zip(inputs, rows, strict=True)
                for log_pi, collision, x in zip(sample["log_prob"], sample["collision"], row, strict=True)
            ]
            return own - sum(norm * x for norm, x in pairs) / sum(norm for norm, _ in pairs)
        case "teacher-value":
            return own - rollout["v"][t] + (rollout["logsumexp"][t] if is_soft(text) else 0)
        case "own-value":
            return own - own_value(text, rollout, t)
        case "leave-one-out":
            return own - statistics.fmean(x for row in others for x in row)
        case "leave-one-out-per-step":
            at_t = [row[t] for row in others if len(row) > t] or [x for row in others for x in row]
            return own - statistics.fmean(at_t)
        case "grpo":
            group = [x for row in found[b] for x in row]
            deviation = statistics.stdev(group)
            return (own - statistics.fmean(group)) / deviation if deviation else 0.0
    raise AssertionError(f"{baseline} has no literal form here")


def own_value(text, rollout, t):
    """Ē, E_π[log p], or -KL(π‖p) = Ē - logsumexp + H of the state."""
    if text.startswith("reverse-kl"):
        return rollout["own_value"][t] - rollout["logsumexp"][t] + rollout["entropy"][t]
    return rollout["own_value"][t] - (rollout["logsumexp"][t] if is_soft(text) else 0)


def is_soft(text):
    return text.startswith(("soft", "reverse-kl"))
