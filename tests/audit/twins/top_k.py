import torch


def wrong(teacher_logits, student_logits, mask):
    """Over the teacher's two likeliest tokens, without the mass of the others: no divergence."""
    log_p, places = teacher_logits.log_softmax(-1).topk(2, dim=-1)
    log_pi = student_logits.log_softmax(-1).gather(-1, places)
    return (torch.where(mask[..., None], log_p.exp() * (log_p - log_pi), 0)).sum() / mask.sum()


def right(teacher_logits, student_logits, mask):
    log_p, log_pi = teacher_logits.log_softmax(-1), student_logits.log_softmax(-1)
    return (torch.where(mask[..., None], log_p.exp() * (log_p - log_pi), 0)).sum() / mask.sum()
