def wrong(teacher_logprobs, student_logprobs, mask, ids, eos_id):
    ratio = (teacher_logprobs - student_logprobs) * mask
    ratio = ratio + ratio * (ids == eos_id)
    return ratio.flip(1).cumsum(1).flip(1) * mask


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
