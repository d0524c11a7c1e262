"""A student's weights while it trains: as they are here, as adapters (`adapters`) or in parts (`shards`).

All that the loop, the engine and checkpoints need to know of the difference is in these three classes;
`ketchup.training.run` makes the one of a run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import read_network
from ketchup.processes import Processes


class StudentWeights:
    """Weights of which every process has all, and trains all."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        """What passes go through, and gradients come to."""

    def begin(self, processes: Processes) -> None:
        """Takes its place on the device; all processes come here together, before anything else."""
        network: Any = self.model.network.eval()  # no dropout, for which see the loop
        network.to(processes.device)

    @property
    def trained(self) -> list[nn.Parameter]:
        """Those that the optimiser moves."""
        return [weight for weight in self.model.network.parameters() if weight.requires_grad]

    @property
    def kept(self) -> int:
        """How many numbers that are trained this process keeps."""
        return sum(weight.numel() for weight in self.trained)

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """Names and values of those that are trained, as far as this process keeps them."""
        for name, weight in self.model.network.named_parameters():
            if weight.requires_grad:
                yield name, weight.detach()

    def ordinary(self) -> LanguageModel:
        """One ordinary model with the weights of this moment, for the engine and for files; all must ask for it."""
        return self.model

    def beside(self, saved: dict[str, Tensor], dtype: str) -> dict[str, Tensor]:
        """What it needs to go on beside the `ordinary` model's weights, of which those of type `dtype` are saved."""
        return saved if dtype != "float32" else {}  # rounded to a narrower type, training would not go on where it was

    def read(self, folder: Path) -> dict[str, Tensor]:
        """The weights of the ordinary model in a folder."""
        network = self.model.network
        return read_network(type(network), folder, network.dtype).state_dict()

    def put_back(self, weights: dict[str, Any], optimizer: Optimizer, state: dict[str, Any]) -> None:
        """Takes over weights that were `beside` or `read`, and the optimiser the state that it was in."""
        self.model.network.load_state_dict(weights)
        optimizer.load_state_dict(state)

    def state_of(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimiser's whole state, at least in the main process; all must ask for it."""
        return optimizer.state_dict()

    def add_up_gradients(self, processes: Processes) -> None:
        """Every process ends up with the sum of all gradients."""
        processes.add_up_gradients(self.trained)

    def clip_gradients(self, most: float) -> Tensor:
        """Scales all gradients down to a joint norm of `most`, and returns the norm before that."""
        return torch.nn.utils.clip_grad_norm_(self.trained, most)
