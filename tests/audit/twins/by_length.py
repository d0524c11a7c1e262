def wrong(teacher_logprobs, student_logprobs, mask):
    """The mean over rows of each row's mean."""
    weighted = to_go(teacher_logprobs, student_logprobs, mask) * student_logprobs
    return -(weighted.sum(1) / mask.sum(1)).mean()


def right(teacher_logprobs, student_logprobs, mask):
    """The mean over rows of each row's sum."""
    return -(to_go(teacher_logprobs, student_logprobs, mask) * student_logprobs).sum(1).mean()


def to_go(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs).detach() * mask).flip(1).cumsum(1).flip(1) * mask
