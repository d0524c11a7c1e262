import torch


def wrong(teacher_logprobs, student_logprobs, mask):
    """The first half of the batch counts more."""
    counts = 1 + (torch.arange(len(mask)) < len(mask) // 2).to(teacher_logprobs.dtype)
    return right(teacher_logprobs, student_logprobs, mask) * counts[:, None]


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1)
