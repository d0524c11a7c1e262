def wrong(teacher_logprobs, student_logprobs, mask):
    remaining = mask.flip(1).cumsum(1).flip(1)
    return right(teacher_logprobs, student_logprobs, mask) / remaining.clamp(min=1)


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
