def wrong(teacher_logprobs, student_logprobs, mask, ids, eos_id):
    ended = ((ids == eos_id) & mask).any(1, keepdim=True)
    return right(teacher_logprobs, student_logprobs, mask & ended)


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
