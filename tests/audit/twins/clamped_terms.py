def wrong(teacher_logprobs, student_logprobs, mask):
    ratio = (teacher_logprobs - student_logprobs).clamp(-2, 2) * mask
    return ratio.flip(1).cumsum(1).flip(1)


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1)
