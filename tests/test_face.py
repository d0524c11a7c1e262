"""What `import ketchup` shows: lazy, in need of torch alone, and right on rows as other trainers have them."""

import ast
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

import ketchup
from ketchup.errors import UsageError
from tests import reference

ROWS, WIDTH, VOCABULARY = 6, 9, 7


@pytest.fixture
def batch():
    """Logits of both, ids and a mask with padding on either side, a hole, and NaN wherever nothing may be looked at."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = (
        torch.randn(ROWS, WIDTH, VOCABULARY, generator=generator, dtype=torch.float64) * 2 for _ in range(2)
    )
    ids = torch.randint(VOCABULARY, (ROWS, WIDTH), generator=generator)
    mask = torch.ones(ROWS, WIDTH, dtype=torch.bool)
    mask[0, 5:] = False
    mask[1, :3] = False
    mask[2, 4] = False
    mask[3, [0, 1, 8]] = False
    for values in (teacher, student):
        values[~mask] = torch.nan
    ids[~mask] = -100  # as trainers mark what has no loss
    return teacher, student, ids, mask


def numbers(logits, ids, mask, row):
    """q and v of a row's actions as lists, the plainest way."""
    kept = mask[row].nonzero()[:, 0].tolist()
    return [float(logits[row, t, ids[row, t]]) for t in kept], [float(logits[row, t].max()) for t in kept]


@pytest.mark.parametrize(
    ("estimator", "k", "tail"),
    [("llmr", 1, "segment"), ("k-step:2", 2, "segment"), ("k-step:3:one-step", 3, "one-step")],
)
def test_credit_is_the_literal_transcription(batch, estimator, k, tail):
    teacher, _, ids, mask = batch
    found = ketchup.credit(teacher, ids, mask, estimator=estimator)
    for row in range(ROWS):
        q, v = numbers(teacher, ids, mask, row)
        assert found.weights[row][mask[row]].tolist() == pytest.approx(reference.k_step_returns(q, v, k, tail))
    assert not found.weights[~mask].any()
    assert found.signature == f"{estimator.removesuffix(':one-step')}|" + (
        f"tail:{tail}|gauge:raw|baseline:none" if k > 1 else "gauge:raw|baseline:none"
    )


def test_two_numbers_a_token_are_enough(batch):
    teacher, _, ids, mask = batch
    q = teacher.gather(-1, ids.clamp(min=0)[..., None])[..., 0]
    from_logits = ketchup.credit(teacher, ids, mask, estimator="k-step:4")
    from_numbers = ketchup.credit(q=q, v=teacher.amax(-1), mask=mask, estimator="k-step:4")
    assert torch.equal(from_logits.weights, from_numbers.weights)


def test_log_probabilities_are_enough_where_the_gauge_is_theirs(batch):
    teacher, student, ids, mask = batch
    log_p, log_pi = teacher.log_softmax(-1), student.log_softmax(-1)
    chosen = ids.clamp(min=0)[..., None]
    q, log_probs = log_p.gather(-1, chosen)[..., 0], log_pi.gather(-1, chosen)[..., 0]
    found = ketchup.credit(q=q, v=log_p.amax(-1), log_probs=log_probs, mask=mask, estimator="reverse-kl:0")
    torch.testing.assert_close(found.weights[mask], (q - log_probs)[mask])
    both = ketchup.credit(teacher, ids, mask, student_logits=student, estimator="reverse-kl:0")
    torch.testing.assert_close(found.weights, both.weights)


def test_groups_may_come_in_any_order(batch):
    """Leave-one-out by hand: the mean over all actions of the other sample of the input."""
    teacher, _, ids, mask = batch
    groups = ["b", "a", "c", "a", "c", "b"]
    plain = ketchup.credit(teacher, ids, mask).weights
    found = ketchup.credit(teacher, ids, mask, baseline="leave-one-out", groups=groups)
    for row, group in enumerate(groups):
        (other,) = [index for index, name in enumerate(groups) if name == group and index != row]
        expected = plain[row][mask[row]] - plain[other][mask[other]].mean()
        torch.testing.assert_close(found.weights[row][mask[row]], expected)
    as_tensor = torch.tensor([1, 0, 2, 0, 2, 1])
    again = ketchup.credit(teacher, ids, mask, baseline="leave-one-out", groups=as_tensor)
    assert torch.equal(again.weights, found.weights)


def test_no_gradient_flows_through_credit(batch):
    teacher, student, ids, mask = batch
    student = student.nan_to_num().requires_grad_()
    found = ketchup.credit(
        teacher, ids, mask, student_logits=student, estimator="expected-future", baseline="own-value"
    )
    assert not found.weights.requires_grad
    assert found.weights.isfinite().all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"estimator": "k-stop:2"}, "k-stop"),
        ({"baseline": "meen"}, "meen"),
        ({"gauge": "rew"}, "raw, centered, logprob, not rew"),
        ({"baseline": "leave-one-out"}, "groups"),
        ({"baseline": "leave-one-out", "groups": [0, 0, 0, 1, 1, 2]}, "1 and with 3"),
        ({"baseline": "leave-one-out", "groups": [0, 1]}, "2 rollouts"),
        ({"estimator": "reverse-kl:0"}, "log_prob"),
        ({"estimator": "all-action:1"}, "whole vocabulary"),
        ({"q": torch.zeros(ROWS, WIDTH)}, "in their place"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, r"\[2, 2\]"),
        ({"ids": torch.zeros(1, 1, dtype=torch.long)}, r"\[1, 1\]"),
    ],
)
def test_what_cannot_be_is_one_sentence(batch, given, said):
    teacher, _, ids, mask = batch
    with pytest.raises(UsageError, match=said):
        ketchup.credit(**{"teacher_logits": teacher, "ids": ids, "mask": mask, **given})


def test_public_names_are_there_and_others_are_not():
    for name in ketchup.__all__:
        assert getattr(ketchup, name) is not None
        assert name in dir(ketchup)
    with pytest.raises(AttributeError, match="credit"):
        ketchup.nonsense  # noqa: B018


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_module_alone_imports_nothing_heavy():
    code = "import ketchup, sys; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    assert in_a_new_process(code) == "[]"


def test_credit_and_its_tables_need_torch_alone():
    """In a new process: neither transformers nor anything else that is slow to import comes along."""
    code = """
import sys, torch
before = {name.split(".")[0] for name in sys.modules}
import ketchup
ketchup.credit, ketchup.k_step_returns, ketchup.ESTIMATORS, ketchup.BASELINES, ketchup.Weighted
print(sorted({name.split(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names)))
"""
    assert in_a_new_process(code) == "['ketchup']"


def test_credit_is_there_at_once():
    """Under 50 ms of the processor beyond torch's own import; tried again, as others may be at work on the machine."""
    code = """
import time, torch
start = time.process_time()
import ketchup
ketchup.credit
print(time.process_time() - start)
"""
    assert any(float(in_a_new_process(code)) < 0.05 for _ in range(3))


def test_type_checkers_see_every_public_name_where_it_is():
    """The block for type checkers and the table of places are one list, and it is all that the module imports."""
    source = ast.parse(Path(ketchup.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in source.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    typed = {(alias.name, node.module) for node in block.body for alias in node.names}
    assert typed == set(ketchup._PLACE.items())
    assert sorted(ketchup._PLACE) == sorted(ketchup.__all__)


def test_the_readmes_python_runs(batch):
    teacher, student, ids, mask = batch
    log_probs = student.log_softmax(-1).gather(-1, ids.clamp(min=0)[..., None])[..., 0].nan_to_num()
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    names = {
        "teacher_logits": teacher,
        "ids": ids,
        "mask": mask,
        "log_probs": log_probs,
        "prompt_ids": [0, 0, 1, 1, 2, 2],
    }
    exec(code, names)
    expected = ketchup.credit(
        teacher, ids, mask, estimator="k-step:4", baseline="leave-one-out", groups=[0, 0, 1, 1, 2, 2]
    )
    assert names["loss"] == -(expected.weights * log_probs).sum() / mask.sum()


def test_every_number_that_would_make_a_weight_wrong_is_refused(batch):
    """Each of these was once a weight: another token's logit, NaN, or a baseline that is not there."""
    teacher, _, ids, mask = batch
    q, v = teacher.gather(-1, ids.clamp(min=0)[..., None])[..., 0], teacher.amax(-1)
    holed = teacher.clone()
    holed[5, 0, int(ids[5, 0])] = torch.nan
    banned = teacher.clone()
    banned[5, 1, int(ids[5, 1])] = -torch.inf
    over = ids.clone()
    over[4, 2:4] = VOCABULARY
    numbers = {"teacher_logits": None, "ids": None}
    cases = [
        ({"mask": None}, r"ids has -100 at \[0, 5\] and 10 more places, and tokens are 0 to 6"),
        ({"ids": over}, r"ids has 7 at \[4, 2\] and 1 more places"),
        ({"ids": ids.double()}, "ids must be whole numbers, not torch.float64"),
        ({"teacher_logits": holed}, r"q is nan at \[5, 0\]: mend the logits"),
        ({"teacher_logits": banned}, r"q is -inf at \[5, 1\]: mend the logits"),
        ({"teacher_logits": teacher[0], "ids": ids[0], "mask": mask[0]}, r"teacher_logits has the shape \[9, 7\]"),
        ({"teacher_logits": teacher.nan_to_num().long()}, "must be floating-point numbers, not torch.int64"),
        ({"mask": mask * 2}, "mask must be True"),
        ({"mask": mask.double() * 0.5}, "mask must be True"),
        ({**numbers, "q": q.nan_to_num().long(), "v": v}, "q must be floating-point numbers"),
        ({**numbers, "q": q[0], "v": v[0], "mask": mask[0]}, r"q has the shape \[9\], and \[R, T\] is wanted"),
        ({**numbers, "q": v, "v": q}, r"q is above v at \[0, 0\] and \d+ more places"),
        ({**numbers, "q": q, "v": v, "gauge": "logprob"}, r"q is .* at \[.*\] and \d+ more places, and a log-prob"),
        (
            {**numbers, "q": q, "v": v, "log_probs": q, "estimator": "reverse-kl:0"},
            r"at most 0 in the gauge logprob: take log_softmax first",
        ),
        ({"baseline": "leave-one-out", "groups": range(ROWS)}, "groups has one rollout of each"),
        ({"baseline": "grpo"}, "say which by groups"),
        ({"log_probs": -q, "estimator": "reverse-kl:0"}, "log_probs is .* and a log-probability is at most 0: take"),
        ({"teacher_logits": teacher.numpy()}, "teacher_logits must be a tensor, not a ndarray"),
        ({"ids": ids.tolist()}, "ids must be a tensor, not a list"),
        ({"mask": mask.tolist()}, "mask must be a tensor, not a list"),
        ({"teacher_logits": teacher[..., :0]}, "a vocabulary of 0 tokens"),
        ({"groups": [{}] * ROWS}, "groups names the input of each rollout by something that compares"),
        ({"estimator": None}, "estimator must be a row's name, not None"),
        ({"baseline": 3}, "baseline must be a row's name, not 3"),
        ({"estimator": "placebo:shuffled", "groups": list("abcdef")}, "groups has one rollout of each"),
    ]
    for given, said in cases:
        with pytest.raises(UsageError, match=said):
            ketchup.credit(**{"teacher_logits": teacher, "ids": ids, "mask": mask, **given})


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (4, 3)])
def test_a_batch_without_an_action_has_no_weights(shape):
    """A micro-batch of which nothing is left, under every row and baseline: 0 wherever something has a place."""
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    logits = torch.full((*shape, 5), torch.nan)
    rows = [row.examples[-1] for name, row in ketchup.ESTIMATORS.items() if name != "all-action"]
    for estimator, baseline in product(rows, ketchup.BASELINES):
        given = {"estimator": estimator, "baseline": baseline, "groups": [0] * shape[0]}
        found = ketchup.credit(logits, ids, mask, student_logits=logits, **given)
        assert found.weights.shape == shape
        assert not found.weights.any()


def test_masks_of_numbers_and_forbidden_tokens_are_fine(batch):
    """A mask of 0 and 1, as trainers have it, and -inf for a token that is neither taken nor the teacher's best."""
    teacher, _, ids, mask = batch
    plain = ketchup.credit(teacher, ids, mask).weights
    assert torch.equal(ketchup.credit(teacher, ids, mask.long()).weights, plain)
    assert torch.equal(ketchup.credit(teacher, ids, mask.float()).weights, plain)
    assert torch.equal(ketchup.credit(teacher, ids.to(torch.int8), mask).weights, plain)
    found = ketchup.credit(torch.tensor([[[-torch.inf, 3.0, 2.0], [1.0, -torch.inf, 5.0]]]), torch.tensor([[2, 0]]))
    assert found.weights.tolist() == [[2.0 + (1.0 - 5.0), 1.0]]  # q_0 + A_1, then q_1
