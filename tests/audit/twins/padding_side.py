import torch


def wrong(teacher_logprobs, student_logprobs, mask):
    """Discounts by the column."""
    powers = 0.9 ** torch.arange(mask.shape[1], dtype=teacher_logprobs.dtype)
    return ((teacher_logprobs - student_logprobs) * mask * powers).flip(1).cumsum(1).flip(1)


def right(teacher_logprobs, student_logprobs, mask):
    """Discounts by the number of the action, as -KL with γ^i for the i-th does."""
    powers = 0.9 ** (mask.cumsum(1) - 1).to(teacher_logprobs.dtype)
    return ((teacher_logprobs - student_logprobs) * mask * powers).flip(1).cumsum(1).flip(1)
