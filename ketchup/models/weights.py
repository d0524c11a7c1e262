"""Whether weights are numbers: a single NaN makes every output of a model one, and every file that is made from it."""

from collections.abc import Iterable

import torch
from torch import Tensor

CHECKED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def not_finite(weights: Iterable[tuple[str, Tensor]], dtype: torch.dtype | None = None) -> str | None:
    """The name of the first weight that holds a NaN or an infinity, or would as a `dtype`; `None` if there is none."""
    for name, weight in weights:
        if weight.dtype in CHECKED and not weight.detach().to(dtype or weight.dtype).isfinite().all():
            return name
    return None
