import torch


def wrong(teacher_logprobs, student_logprobs, mask):
    """A baseline of the whole batch, this output among it."""
    returns = to_go(teacher_logprobs, student_logprobs, mask)
    return (returns - returns[mask].mean()) * mask


def right(teacher_logprobs, student_logprobs, mask, groups):
    """Of the other samples of the prompt."""
    returns = to_go(teacher_logprobs, student_logprobs, mask)
    others = (groups[:, None] == groups) & ~torch.eye(len(groups), dtype=torch.bool)
    totals = others.to(returns.dtype) @ returns.sum(1)
    counts = others.to(returns.dtype) @ mask.sum(1).to(returns.dtype)
    return (returns - (totals / counts.clamp(min=1))[:, None]) * mask


def to_go(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
