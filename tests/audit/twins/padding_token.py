def wrong(teacher_logprobs, student_logprobs, ids, eos_id):
    """Takes what is not the end token for the output, where padding is the end token."""
    return to_go(teacher_logprobs, student_logprobs, ids != eos_id)


def right(teacher_logprobs, student_logprobs, mask):
    return to_go(teacher_logprobs, student_logprobs, mask)


def to_go(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
