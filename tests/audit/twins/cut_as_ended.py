def wrong(teacher_logprobs, student_logprobs, mask):
    """Drops the last action of every row as its end token."""
    later = mask.flip(1).cumsum(1).flip(1)
    return right(teacher_logprobs, student_logprobs, mask & (later > 1))


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
