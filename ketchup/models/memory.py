"""Whether there is room for what is about to be loaded: better one sentence now than a killed process later."""

import psutil
import torch

from ketchup.errors import ModelError

GIGABYTE = 1e9


def free_bytes(device: torch.device) -> int:
    """What is free on a device right now, caches that the system would give up included."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def check_room(what: str, parameters: int, bytes_each: int, device: torch.device, remedy: str) -> None:
    """Raises `ModelError` where `parameters` numbers of `bytes_each` bytes exceed what is free on the device."""
    needed, free = parameters * bytes_each, free_bytes(device)
    if needed > free:
        raise ModelError(
            f"{what} needs {needed / GIGABYTE:.1f} GB ({parameters / 1e6:,.0f} million parameters of {bytes_each} "
            f"bytes) and {free / GIGABYTE:.1f} GB are free on {device}; {remedy}."
        )
