def wrong(teacher_logprobs, student_logprobs, mask):
    """A reward that is minimised."""
    return -right(teacher_logprobs, student_logprobs, mask)


def right(teacher_logprobs, student_logprobs, mask):
    weights = ((teacher_logprobs - student_logprobs).detach() * mask).flip(1).cumsum(1).flip(1) * mask
    return -(weights * student_logprobs).sum()
