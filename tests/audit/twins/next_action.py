import torch.nn.functional as F


def wrong(teacher_logprobs, student_logprobs, mask):
    return F.pad(to_go(teacher_logprobs, student_logprobs, mask)[:, 1:], (0, 1))


def right(teacher_logprobs, student_logprobs, mask):
    return to_go(teacher_logprobs, student_logprobs, mask)


def to_go(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1)
