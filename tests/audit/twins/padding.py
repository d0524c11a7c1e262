def wrong(teacher_logprobs, student_logprobs, mask):
    """Sums over what stands in padding before it masks."""
    return (teacher_logprobs - student_logprobs).flip(1).cumsum(1).flip(1) * mask


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
