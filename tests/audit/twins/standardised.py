import torch


def wrong(teacher_logprobs, student_logprobs, mask, groups):
    values = ((teacher_logprobs - student_logprobs) * mask).sum(1)
    weights = torch.zeros_like(values)
    for group in groups.unique():
        own = groups == group
        if own.sum() > 1:
            weights[own] = (values[own] - values[own].mean()) / (values[own].std() + 1e-6)
    return weights[:, None] * mask


def right(teacher_logprobs, student_logprobs, mask, groups):
    """Less the mean of all samples of the prompt, which shrinks the gradient and turns it nowhere."""
    values = ((teacher_logprobs - student_logprobs) * mask).sum(1)
    weights = torch.zeros_like(values)
    for group in groups.unique():
        own = groups == group
        weights[own] = values[own] - values[own].mean()
    return weights[:, None] * mask
