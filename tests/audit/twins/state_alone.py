def wrong(student_logits, teacher_logits, mask):
    """The advantage of a state: the same for all actions there."""
    return -divergence(student_logits, teacher_logits) * mask


def right(student_logits, teacher_logits, ids, mask):
    ratio = teacher_logits.log_softmax(-1) - student_logits.log_softmax(-1)
    return (ratio.gather(-1, ids[..., None])[..., 0] + divergence(student_logits, teacher_logits)) * mask


def divergence(student_logits, teacher_logits):
    log_pi, log_p = student_logits.log_softmax(-1), teacher_logits.log_softmax(-1)
    return (log_pi.exp() * (log_pi - log_p)).sum(-1)
