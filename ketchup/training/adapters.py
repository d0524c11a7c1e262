"""A frozen student with low-rank adapters, which alone are trained (LoRA, Hu et al., 2022)."""

import copy
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from ketchup.devices import seeded
from ketchup.errors import UsageError
from ketchup.models.language_model import LanguageModel
from ketchup.training.weights import StudentWeights


class AdapterWeights(StudentWeights):
    """Adapters on all linear layers, everything else frozen; their product is what counts."""

    def __init__(self, model: LanguageModel, rank: int, seed: int) -> None:
        """The adapters begin as no change; what they begin from is drawn from `seed`. α is twice the rank, no dropout.

        Raises `UsageError` where PEFT is not installed.
        """
        try:
            from peft import LoraConfig, get_peft_model  # noqa: PLC0415 # an extra
        except ImportError as error:
            raise UsageError("--lora needs PEFT; install it with pip install 'ketchup-kd[lora]'.") from error
        with seeded(seed, model.device):
            config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
            network: Any = get_peft_model(model.network, config).eval()
        super().__init__(replace(model, network=network))

    def ordinary(self) -> LanguageModel:
        """A copy with the adapters merged into the weights they adapt."""
        # A copy, as a merge leaves no adapters behind for training to go on with.
        merged: Any = copy.deepcopy(self.model.network)
        return replace(self.model, network=merged.merge_and_unload())

    def beside(self, saved: dict[str, Tensor], dtype: str) -> dict[str, Tensor]:  # noqa: ARG002 (merged, they are lost)
        """The adapters."""
        return {name: weight.cpu() for name, weight in self.held()}

    def put_back(self, weights: dict[str, Any], optimizer: Optimizer, state: dict[str, Any]) -> None:
        """Takes over adapters and the optimiser's state."""
        self.model.network.load_state_dict(weights, strict=False)
        optimizer.load_state_dict(state)
