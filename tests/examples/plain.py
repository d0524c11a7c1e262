"""What the examples compute, the plainest way: one output at a time, without padding."""

import torch

from tests import reference


def expected_weights(teacher, prompts, outputs, k):
    """K-step returns of Eq. 7 less the mean over all actions of the prompt's other outputs, as lists.

    `prompts` and `outputs` are lists of token ids, an output's prompt beside it.
    """
    returns = []
    for prompt, output in zip(prompts, outputs, strict=True):
        logits = plain_logits(teacher, prompt, output).detach()
        q = [float(logits[t, token]) for t, token in enumerate(output)]
        returns.append(reference.k_step_returns(q, logits.amax(-1).tolist(), k, "segment"))
    weights = []
    for row, prompt in enumerate(prompts):
        others = [
            value for other, same in enumerate(prompts) if same == prompt and other != row for value in returns[other]
        ]
        weights.append([value - sum(others) / len(others) for value in returns[row]])
    return weights


def plain_logits(model, prompt, output):
    """The logits [T, V] that predict each token of an output."""
    return model(torch.tensor([[*prompt, *output]])).logits[0, len(prompt) - 1 : -1]


def policy_gradient(student, prompts, outputs, weights):
    """The gradient of -Σ w log π / n by each of the student's weights, where n counts all actions."""
    student.zero_grad()
    actions = sum(map(len, outputs))
    for prompt, output, row in zip(prompts, outputs, weights, strict=True):
        log_probs = plain_logits(student, prompt, output).log_softmax(-1)[range(len(output)), output]
        (-(torch.tensor(row) * log_probs).sum() / actions).backward()
    return {name: weight.grad.clone() for name, weight in student.named_parameters()}
