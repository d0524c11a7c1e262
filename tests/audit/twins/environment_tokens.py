def wrong(teacher_logprobs, student_logprobs, mask, attention_mask):
    """What a tool wrote enters the return of what was done before."""
    return ((teacher_logprobs - student_logprobs) * attention_mask).flip(1).cumsum(1).flip(1) * mask


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
