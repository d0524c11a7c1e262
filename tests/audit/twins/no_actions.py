def wrong(teacher_logprobs, student_logprobs, mask, attention_mask):
    """What the environment wrote is learnt too."""
    return -(to_go(teacher_logprobs, student_logprobs, mask) * student_logprobs * attention_mask).sum()


def right(teacher_logprobs, student_logprobs, mask):
    return -(to_go(teacher_logprobs, student_logprobs, mask) * student_logprobs * mask).sum()


def to_go(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs).detach() * mask).flip(1).cumsum(1).flip(1)
