import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ketchup.maths.divergences import (
    generalised_jsd,
    kl,
    reverse_kl,
    student_to_mixture,
    teacher_to_mixture,
    token_statistics,
    total_variation,
)
from ketchup.maths.gauges import gauge_constant
from ketchup.maths.returns import advantages

few = settings(max_examples=60, deadline=None)
rows = st.integers(2, 8).flatmap(
    lambda size: st.tuples(*[st.lists(st.floats(-20, 20), min_size=size, max_size=size) for _ in range(2)])
)


def probabilities(logits):
    weights = [math.exp(x - max(logits)) for x in logits]
    return [w / sum(weights) for w in weights]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


@few
@given(rows)
def test_kl_is_its_definition(logits):
    p, pi = map(probabilities, logits)
    literal = sum(a * math.log(a / b) for a, b in zip(p, pi, strict=True))
    assert kl(*map(double, logits)).item() == pytest.approx(literal, abs=1e-9)


def relative_entropy(a, b):
    return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))


def mixture(p, pi, beta):
    """β π + (1 - β) p."""
    return [beta * y + (1 - beta) * x for x, y in zip(p, pi, strict=True)]


LITERAL = {
    "reverse_kl": (reverse_kl, lambda p, pi, _: relative_entropy(pi, p)),
    "total_variation": (total_variation, lambda p, pi, _: sum(abs(x - y) for x, y in zip(p, pi, strict=True)) / 2),
    "student_to_mixture": (student_to_mixture, lambda p, pi, beta: relative_entropy(pi, mixture(p, pi, beta))),
    "teacher_to_mixture": (teacher_to_mixture, lambda p, pi, beta: relative_entropy(p, mixture(p, pi, beta))),
    "generalised_jsd": (
        generalised_jsd,
        lambda p, pi, beta: (
            beta * relative_entropy(p, mixture(p, pi, 1 - beta))
            + (1 - beta) * relative_entropy(pi, mixture(p, pi, 1 - beta))
        ),
    ),
}


def value_of(name, teacher, student, beta):
    function = LITERAL[name][0]
    with_beta = name in {"student_to_mixture", "teacher_to_mixture", "generalised_jsd"}
    return function(teacher, student, beta) if with_beta else function(teacher, student)


@few
@given(rows, st.floats(0.05, 0.95), st.sampled_from(sorted(LITERAL)))
def test_each_divergence_is_its_definition(logits, beta, name):
    literal = LITERAL[name][1](*map(probabilities, logits), beta)
    assert value_of(name, *map(double, logits), beta).item() == pytest.approx(literal, abs=1e-9)


@few
@given(rows, st.floats(0.05, 0.95), st.sampled_from(sorted(LITERAL)))
def test_each_divergence_has_the_gradient_of_its_definition(logits, beta, name):
    """Central differences of the literal form, in each of the student's logits."""
    teacher, values = logits[0], logits[1]
    student = double(values).requires_grad_()
    value_of(name, double(teacher), student, beta).backward()
    h = 1e-5
    for index, found in enumerate(student.grad.tolist()):
        moved = [[x + (i == index) * step for i, x in enumerate(values)] for step in (h, -h)]
        if name == "total_variation":  # |p - π| has a kink where the two agree
            gaps = [abs(x - y) for x, y in zip(probabilities(teacher), probabilities(values), strict=True)]
            if min(gaps) < 1e-4:
                return
        above, below = (LITERAL[name][1](probabilities(teacher), probabilities(m), beta) for m in moved)
        assert found == pytest.approx((above - below) / (2 * h), abs=1e-5)


@few
@given(rows, st.floats(0.05, 0.95))
def test_divergences_are_zero_for_equal_models_and_bounded(logits, beta):
    p, pi = map(double, logits)
    for name in LITERAL:
        assert value_of(name, p, p + 3, beta).item() == pytest.approx(0, abs=1e-9)
        assert value_of(name, p, pi, beta).item() > -1e-12
    assert total_variation(p, pi) <= 1 + 1e-12
    assert student_to_mixture(p, pi, beta) <= math.log(1 / beta) + 1e-9
    assert teacher_to_mixture(p, pi, beta) <= math.log(1 / (1 - beta)) + 1e-9
    assert reverse_kl(p, pi).item() == pytest.approx(kl(pi, p).item(), abs=1e-12)
    jsd = beta * teacher_to_mixture(p, pi, 1 - beta) + (1 - beta) * student_to_mixture(p, pi, 1 - beta)
    assert generalised_jsd(p, pi, beta).item() == pytest.approx(jsd.item(), abs=1e-12)


def test_generalised_jsd_tends_to_both_kl():
    p, pi = double([0.3, -1, 2]), double([1.0, 0, -1])
    small = 1e-6
    assert generalised_jsd(p, pi, small).item() / small == pytest.approx(kl(p, pi).item(), rel=1e-4)
    assert generalised_jsd(p, pi, 1 - small).item() / small == pytest.approx(reverse_kl(p, pi).item(), rel=1e-4)


def test_kl_puts_the_teacher_first():
    # p = (1/2, 1/2), π = (1/4, 3/4): KL(p‖π) = ½ ln 2 + ½ ln(2/3) = ½ ln(4/3), while KL(π‖p) = ¾ ln 3 - ln 2.
    p, pi = double([[0.0, 0.0]]), double([[0.0, math.log(3)]])
    assert kl(p, pi).tolist() == pytest.approx([math.log(4 / 3) / 2])


def test_kl_sees_no_gauge_and_keeps_leading_axes():
    generator = torch.Generator().manual_seed(0)
    p, pi = torch.randn(2, 3, 4, 7, generator=generator, dtype=torch.float64)
    shifted = kl(p + 100 * torch.randn(3, 4, 1, generator=generator), pi - 5)
    torch.testing.assert_close(shifted, kl(p, pi))
    assert kl(p, pi).shape == (3, 4)


def test_kl_where_an_action_is_ruled_out():
    never = -math.inf
    # By both: as though it were not in the vocabulary. By the teacher alone: p = (1, 0), π = (1/2, 1/2), so ln 2.
    assert kl(double([0, 0, never]), double([0, math.log(3), never])).item() == pytest.approx(math.log(4 / 3) / 2)
    assert kl(double([0, never]), double([0, 0])).item() == pytest.approx(math.log(2))
    assert kl(double([0, 0]), double([0, never])).item() == math.inf


def test_kl_has_a_gradient_for_the_student():
    student = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    kl(double([0, math.log(3)]), student).backward()
    assert student.grad.tolist() == pytest.approx([0.5 - 0.25, 0.5 - 0.75])  # π - p


@few
@given(rows, st.integers(0, 7))
def test_token_statistics_are_their_definitions(logits, action):
    row = logits[0]
    action %= len(row)
    found = token_statistics(double([row]), torch.tensor([action]))
    assert found.q.tolist() == [row[action]]
    assert found.v.tolist() == [max(row)]
    assert found.mean.tolist() == pytest.approx([sum(row) / len(row)], abs=1e-9)
    assert found.logsumexp.tolist() == pytest.approx([math.log(sum(map(math.exp, row)))], abs=1e-9)


def test_narrow_logits_are_widened_before_they_are_summed():
    # 4,096 ones: bfloat16 has 8 bits of mantissa and would stop counting at 256.
    ones = torch.ones(4096, dtype=torch.bfloat16)
    found = token_statistics(ones, torch.tensor(3))
    assert {x.dtype for x in found} == {torch.float32}
    assert found.mean.item() == 1
    assert found.logsumexp.item() == pytest.approx(1 + math.log(4096))
    assert kl(ones, ones).dtype == torch.float32


# Gauges


@pytest.fixture
def statistics():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 5, 9, generator=generator, dtype=torch.float64)
    actions = torch.randint(9, (2, 5), generator=generator)
    return logits, actions, token_statistics(logits, actions)


def in_gauge(found, gauge):
    """q and v less the gauge's constant."""
    constant = gauge_constant(found.mean, found.logsumexp, gauge)
    return (found.q, found.v) if constant is None else (found.q - constant, found.v - constant)


def test_each_gauge_is_that_of_shifted_logits(statistics):
    logits, actions, found = statistics
    for gauge, shifted in [
        ("raw", logits),
        ("centered", logits - logits.mean(-1, keepdim=True)),
        ("logprob", logits.log_softmax(-1)),
    ]:
        q, v = in_gauge(found, gauge)
        wanted = token_statistics(shifted, actions)
        torch.testing.assert_close(q, wanted.q)
        torch.testing.assert_close(v, wanted.v)


def test_no_gauge_moves_an_advantage(statistics):
    *_, found = statistics
    everywhere = torch.ones(2, 5, dtype=torch.bool)
    raw = advantages(found.q, found.v, everywhere)
    for gauge in ("centered", "logprob"):
        torch.testing.assert_close(advantages(*in_gauge(found, gauge), everywhere), raw)


def test_an_unknown_gauge_is_named(statistics):
    *_, found = statistics
    with pytest.raises(ValueError, match="'softmax'"):
        in_gauge(found, "softmax")
