def wrong(teacher_logprobs, student_logprobs, mask):
    """A mean over padding too."""
    return -(to_go(teacher_logprobs, student_logprobs, mask) * student_logprobs).mean()


def right(teacher_logprobs, student_logprobs, mask):
    return -(to_go(teacher_logprobs, student_logprobs, mask) * student_logprobs).sum() / mask.sum()


def to_go(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs).detach() * mask).flip(1).cumsum(1).flip(1) * mask
