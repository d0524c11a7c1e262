def wrong(teacher_logprobs, student_logprobs, mask):
    """Lets autograd through the log-ratio of a sample, which is 0 in expectation but for where the student goes."""
    return -((teacher_logprobs - student_logprobs) * mask).sum()


def right(teacher_logprobs, student_logprobs, mask):
    values = ((teacher_logprobs - student_logprobs).detach() * mask).sum(1, keepdim=True)
    return -(values * student_logprobs * mask).sum()
