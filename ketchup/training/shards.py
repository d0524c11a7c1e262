"""A model whose weights, gradients and optimiser state are spread over all processes (FSDP2), an equal part in each.

A transformer block is gathered when a pass comes to it and let go after it. What belongs to no block (embeddings,
head, last norm) is gathered as one, and stays so until the next backward pass, as the head is applied after the
forward pass. To gather is the work of all processes at once: each must run as many passes as any other.
"""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from ketchup.errors import ModelError
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import read_network
from ketchup.processes import Processes
from ketchup.training.weights import StudentWeights


def shard(model: LanguageModel, processes: Processes, *, narrow: bool = False) -> LanguageModel:
    """Spreads a model over all processes, in place; gradients become sums over them.

    With `narrow`, weights are gathered in bfloat16, and gradients added up in float32.
    Raises `ModelError` for a model that does not name its blocks.
    """
    network: Any = model.network
    names = set(network._no_split_modules or ())
    blocks = [module for module in network.modules() if type(module).__name__ in names]
    if not blocks:
        raise ModelError(f"{type(network).__name__} does not say what its blocks are; train it without --shard.")
    # Nothing writes into hidden states in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    options: dict[str, Any] = {"mesh": init_device_mesh(processes.device.type, (processes.count,))}
    if narrow:
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for module in blocks:
        fully_shard(module, **options)
    fully_shard(network, reshard_after_forward=False, **options)
    for module in (*blocks, network):
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # else a factor needs an operation that only NCCL has
    return model


class ShardedWeights(StudentWeights):
    """Of all weights, gradients and optimiser state every process keeps an equal part.

    `replica` is the same model whole, for the engine and for files, as of the last `ordinary`.
    """

    def __init__(self, model: LanguageModel, processes: Processes, *, samples: bool) -> None:
        """The replica is on the process's device if it `samples`, else on the CPU."""
        super().__init__(model)
        self.processes = processes
        self.samples = samples
        self.replica = model

    def begin(self, processes: Processes) -> None:
        """Spreads the model over all processes, which come here together."""
        network: Any = copy.deepcopy(self.model.network)
        network.to(processes.device if self.samples else "cpu")
        self.replica = replace(self.model, network=network)
        shard(self.model, processes, narrow=processes.narrow)
        super().begin(processes)

    @property
    def kept(self) -> int:
        """An equal part."""
        return super().kept // self.processes.count

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """This process's part of each."""
        for name, weight in super().held():
            yield name, weight.to_local() if isinstance(weight, DTensor) else weight

    @torch.no_grad()
    def ordinary(self) -> LanguageModel:
        """The replica, with weights gathered from all processes."""
        copies = dict(self.replica.network.named_parameters())
        for name, weight in self._parts().named_parameters():
            assert isinstance(weight, DTensor)
            copies[name].copy_(weight.full_tensor())
        return self.replica

    def read(self, folder: Path) -> dict[str, Tensor]:
        """All weights, in every process."""
        network = self.replica.network
        return read_network(type(network), folder, network.dtype).state_dict()

    def put_back(self, weights: dict[str, Any], optimizer: Optimizer, state: dict[str, Any]) -> None:
        """Each process takes its parts of whole weights and of a whole optimiser state."""
        options = StateDictOptions(full_state_dict=True)
        set_state_dict(self._parts(), optimizer, model_state_dict=weights, optim_state_dict=state, options=options)

    def state_of(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimiser's whole state in the main process, an empty one in the others."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return dict(get_optimizer_state_dict(self._parts(), optimizer, options=options))

    def add_up_gradients(self, processes: Processes) -> None:
        """They were added up in the backward pass."""

    def clip_gradients(self, most: float) -> Tensor:
        """The norm is that of the whole gradient."""
        norm = super().clip_gradients(most)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _parts(self) -> Any:
        """The network, with the parts as its parameters: after a forward pass some are still the whole ones."""
        network: Any = self.model.network
        network.reshard()
        return network
