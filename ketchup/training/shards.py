"""A model whose weights, gradients and optimiser state are spread over all processes (FSDP2), an equal part in each.

A transformer block is gathered when a pass comes to it and let go after it. What belongs to no block (embeddings,
head, last norm) is gathered as one, and stays so until the next backward pass, as the head is applied after the
forward pass. To gather is the work of all processes at once: each must run as many passes as any other.
"""

import copy
import warnings
from dataclasses import dataclass, fields
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
from ketchup.processes import Processes


@dataclass(frozen=True, eq=False)
class ShardedModel(LanguageModel):
    """A model in parts; `replica` is the same one whole, for the engine and for files, as of the last `gathered`."""

    replica: LanguageModel


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


def shard_student(model: LanguageModel, processes: Processes, *, samples: bool) -> ShardedModel:
    """Spreads the student, and keeps a replica in each process: on its device if it `samples`, else on the CPU."""
    parts = {field.name: getattr(model, field.name) for field in fields(model)}
    network: Any = copy.deepcopy(model.network)
    network.to(processes.device if samples else "cpu")
    replica = LanguageModel(**{**parts, "network": network})
    shard(model, processes, narrow=processes.narrow)
    return ShardedModel(**parts, replica=replica)


@torch.no_grad()
def gathered(model: ShardedModel) -> LanguageModel:
    """The replica, with the weights of this moment; all processes must ask for it."""
    copies = dict(model.replica.network.named_parameters())
    for name, weight in _parts(model).named_parameters():
        assert isinstance(weight, DTensor)
        copies[name].copy_(weight.full_tensor())
    return model.replica


def optimizer_state(model: LanguageModel, optimizer: Optimizer) -> dict[str, Any]:
    """The optimiser's whole state; in all but the main process an empty one, if it has to be gathered."""
    if not isinstance(model, ShardedModel):
        return optimizer.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return dict(get_optimizer_state_dict(_parts(model), optimizer, options=options))


def load_parts(
    model: ShardedModel, optimizer: Optimizer, weights: dict[str, Any], optimizer_state: dict[str, Any]
) -> None:
    """Each process takes its parts of whole weights and of a whole optimiser state."""
    set_state_dict(
        _parts(model),
        optimizer,
        model_state_dict=weights,
        optim_state_dict=optimizer_state,
        options=StateDictOptions(full_state_dict=True),
    )


def clip_gradients(weights: list[torch.nn.Parameter], most: float) -> Tensor:
    """Scales all gradients down to a joint norm of `most`, and returns the norm before that."""
    norm = torch.nn.utils.clip_grad_norm_(weights, most)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _parts(model: ShardedModel) -> Any:
    """The network, with the parts as its parameters: after a forward pass some are still the whole ones."""
    network: Any = model.network
    network.reshard()
    return network
