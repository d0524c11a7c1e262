"""The command: its exit codes, its JSON, and one sentence for what it cannot audit."""

import json

import pytest

from tests.commands import ketchup

GOOD = """
import os
print("imported")

def weights(teacher_logprobs, student_logprobs, mask):
    print("called")
    os.system("echo called")
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1)
"""
BAD = {
    # what is wrong: (source of f, options, exit code, words of the sentence)
    "raises": ("def f(ids): raise ValueError('no such thing')", [], 1, "f raised ValueError: no such thing."),
    "exits": ("def f(ids): raise SystemExit(3)", [], 1, "f raised SystemExit"),
    "shape": (
        "def f(ids): return ids.sum(1)",
        [],
        1,
        "a tensor [6]; weights wants weights [R, T] of ∇ log π, here [6, 5]",
    ),
    "nothing": ("def f(ids): pass", [], 1, "f returned None; weights wants"),
    "no scalar": ("def f(student_logits): return student_logits", ["--signature", "loss"], 1, "wants a scalar loss"),
    "no gradient": (
        "def f(student_logits): return student_logits.detach().sum()",
        ["--signature", "loss"],
        1,
        "has no gradient; compute it from student_logits or student_logprobs",
    ),
    "not finite": ("def f(teacher_logprobs): return teacher_logprobs.exp().log() / 0", [], 1, "not finite"),
    "random": ("import torch\ndef f(ids): return torch.rand(ids.shape)", [], 1, "other numbers for the same batch"),
    "gpu": (
        "def f(ids): return ids.to('cuda')",
        [],
        1,
        "the audit runs on a CPU, so take the device from the arguments",
    ),
    "model": ("def f(ids): return None.generate(ids)", [], 1, "the audit has tensors and no model"),
    "asks for a model": (
        "def f(model, ids): return ids",
        [],
        2,
        "f needs model, which --signature weights does not give",
    ),
    "other names": ("def f(x, y): return x", [], 2, "f needs x, y, which --signature weights does not give"),
    "no names": ("def f(): return 1", [], 2, "f takes none of teacher_logits, student_logits"),
    "not of trl": ("def f(ids): return ids", ["--signature", "trl"], 2, "--signature trl wants labels, student_logits"),
    "no function": ("f = 3", [], 1, "f in f.py is no function but int"),
    "not there": ("g = len", [], 1, "f.py has no function f"),
    "does not import": ("import no_such_module", [], 1, "f.py cannot be imported: ModuleNotFoundError"),
    "does not parse": ("def f(:", [], 1, "f.py cannot be imported: SyntaxError"),
    "expects nothing known": ("def f(ids): return ids", ["--expect", "kl"], 2, "no objective or estimator 'kl'"),
    "expects a wrong share": (
        "def f(ids): return ids",
        ["--expect", "state-jsd:2"],
        2,
        "BETA is a number between 0 and 1",
    ),
    "expects a wrong row": ("def f(ids): return ids", ["--expect", "k-step:x"], 2, "K is a whole number, not 'x'"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_audited_is_one_sentence(tmp_path, what):
    source, options, code, words = BAD[what]
    (tmp_path / "f.py").write_text(source)
    done = ketchup(tmp_path, "audit", "f.py:f", *options)
    assert done.code == code
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert words in line
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("target", "code", "words"), [("f.py", 2, "is not FILE.py:FUNCTION"), ("no.py:f", 1, "no file no.py")]
)
def test_a_target_that_is_none(tmp_path, target, code, words):
    done = ketchup(tmp_path, "audit", target)
    assert (done.code, done.stdout) == (code, "")
    assert words in done.stderr


@pytest.mark.parametrize("signature", ["weights", "tinker"])
def test_the_signature_is_no_secret(tmp_path, signature):
    """Options that end so are hidden elsewhere, as in the address of a signed file."""
    (tmp_path / "f.py").write_text("def f(data_D, teacher_clients_D, ids=None, weights=3):\n    return weights")
    done = ketchup(tmp_path, "audit", "f.py:f", "--signature", signature)
    assert "***" not in done.stdout + done.stderr
    assert signature in done.stdout + done.stderr


def test_what_the_function_prints_does_not_spoil_json(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    done = ketchup(tmp_path, "audit", "mine.py:weights", "--expect", "sequence-kl", "--json")
    found = json.loads(done.stdout)
    assert done.code == 0
    assert found["as_expected"] is True
    assert found["match"]["name"] == "sequence-kl"
    assert found["match"]["factor"] == pytest.approx(1)
    assert {"imported", "called"} <= set(done.stderr.split())


def test_the_exit_code_says_whether_it_is_what_was_expected(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    assert ketchup(tmp_path, "audit", "mine.py:weights").code == 0
    other = ketchup(tmp_path, "audit", "mine.py:weights", "--expect", "log-likelihood")
    assert other.code == 1
    assert "It is not log-likelihood: at a cosine of" in other.stdout
    assert "times that of -KL(π‖p) of whole outputs (unbiased)" in other.stdout
