def wrong(teacher_logprobs, student_logprobs, mask):
    """Over all actions of the batch."""
    returns = right(teacher_logprobs, student_logprobs, mask)
    chosen = returns[mask]
    return (returns - chosen.mean()) / (chosen.std() + 1e-8) * mask


def right(teacher_logprobs, student_logprobs, mask):
    return ((teacher_logprobs - student_logprobs) * mask).flip(1).cumsum(1).flip(1) * mask
