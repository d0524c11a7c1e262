def wrong(teacher_logprobs, student_logprobs, mask, ids, eos_id):
    return right(teacher_logprobs, student_logprobs, mask & (ids != eos_id))


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
