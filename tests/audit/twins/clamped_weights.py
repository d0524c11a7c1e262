def wrong(teacher_logprobs, student_logprobs, mask):
    return right(teacher_logprobs, student_logprobs, mask).clamp(-4, 4)


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1)
