"""vLLM, for large decoder-only models on GPUs: rows share the memory of their prompt and come and go in one batch.

Each process that samples has one of its own; `ketchup.rollouts.vllm_places` says where it runs. New weights reach it in
memory, or by a file where it runs in processes of its own. Rows of the head that are padding are not passed on. A short
probe compares its log-probabilities with torch's when a model is first handed over.

vLLM is an extra, not installed by default, and imported when the first engine is made.
"""

import copy
import os
import random
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from ketchup.devices import name_of
from ketchup.errors import KetchupError, ModelError, UsageError
from ketchup.models.language_model import LanguageModel, context, hidden_states, logits
from ketchup.rollouts.types import Decoding, Drawn, Mends
from ketchup.rollouts.vllm_places import OF_LOGGING, Log, place_of

SETTINGS = {"VLLM_NO_USAGE_STATS": "1"}
SHARED_MEMORY = Path("/dev/shm")
"""A folder in memory, where there is one, for weights on their way to other processes."""
AGAIN = "run the same command again to continue"
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 2.0
"""vLLM raises a lower temperature to this without a word, and refuses a higher one."""
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.3}
"""Largest mean difference in nats between vLLM's and torch's log-probabilities of the probe."""


class VllmEngine:
    """Samples with vLLM, on the model's device; in `parts` it is spread over so many GPUs (tensor parallelism).

    There is one at a time: whatever ends an engine takes away what all of a process share, so that a new engine first
    ends the one before. It ends too when nothing refers to it, and gives its memory back.
    """

    mends: Mends = "always"
    _end_last: ClassVar[Callable[[], object]] = lambda: None

    def __init__(self, model: LanguageModel, computes: torch.dtype | None = None, parts: int = 1) -> None:
        """`computes` is the type that it computes in, by default that of the model's weights."""
        dtype = computes or model.network.dtype
        told = ["vllm", name_of(computes) if computes else "", f"tp{parts}" if parts > 1 else ""]
        self.name = ":".join(filter(None, told))
        vllm = _vllm()
        _check(model, dtype, vllm)
        place = place_of(model, parts, vllm)
        VllmEngine._end_last()
        self._parameters = vllm.SamplingParams
        self._apart = place.apart
        self._log = Log()
        with self._failing(f"vLLM cannot run {model.name!r}", "use --engine transformers"):
            with _randomness_kept(model.device), place.environment(self._log), _quietly():
                self._llm = _without_weights(model, dtype, vllm, place.options)
                VllmEngine._end_last = weakref.finalize(self, self._llm.llm_engine.engine_core.shutdown)
            if self._apart:
                self._llm.collective_rpc("leave_with", args=(os.getpid(),))
            self.update(model)
            gap = self._gap(model)
        if not gap < PROBE_TOLERANCE[dtype]:
            raise ModelError(
                f"vLLM computes other probabilities than torch for {model.name!r} (off by {gap:.3g} nats); "
                "use --engine transformers."
            )

    def tells(self, decoding: Decoding) -> bool:
        """Of all but greedy rows."""
        return not decoding.greedy

    def update(self, model: LanguageModel) -> None:
        """Passes the model's current weights on, and forgets what was computed from the old ones."""
        self.model = model
        self._eos_ids = list(model.eos_ids)
        with self._failing(f"vLLM does not take the weights of {model.name!r}", "use --engine transformers"):
            if self._apart:
                self._send(_weights(model))
            else:
                self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(_weights(model).items())})
            self._forget_prompts()

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None,
        samples: int,
        decoding: Decoding,
        seed: int,
    ) -> Drawn:
        """See `Engine.sample`. Every row has a seed of its own, so that rows do not depend on those beside them.

        Nor do they on what was drawn before: what is kept of prompts is forgotten, but where rows are gone on with.
        """
        self._check_fits(prompts, decoding)
        if prefixes is None:
            with self._failing("vLLM stopped", AGAIN):
                self._forget_prompts()
        given = prefixes or [[] for _ in prompts]
        seeds = random.Random(seed)
        drawn = 1 if decoding.greedy else samples
        parameters = [
            self._parameters(
                n=drawn,
                temperature=0.0 if decoding.greedy else decoding.temperature,
                top_k=0 if decoding.greedy else decoding.top_k,
                seed=seeds.getrandbits(62),  # that of the first row, the others count on from it
                max_tokens=decoding.max_new_tokens - len(prefix),
                ignore_eos=True,  # there is no tokenizer that would tell it
                stop_token_ids=self._eos_ids,
                detokenize=False,
                logprobs=None if decoding.greedy else 0,  # of the token that was drawn, and no other
            )
            for prefix in given
        ]
        texts = [{"prompt_token_ids": [*prompt, *prefix]} for prompt, prefix in zip(prompts, given, strict=True)]
        with _randomness_kept(self.model.device), self._failing("vLLM stopped", AGAIN):
            results = self._llm.generate(texts, parameters, use_tqdm=False)
        outputs = [output for result in results for output in result.outputs for _ in range(samples // drawn)]
        return Drawn(
            [list(output.token_ids) for output in outputs],
            None if decoding.greedy else [_told(output) for output in outputs],
        )

    @contextmanager
    def _failing(self, what: str, remedy: str) -> Iterator[None]:
        """Errors of any kind, whether of memory, architecture or sizes, end as a `ModelError` of one sentence."""
        try:
            yield
        except KetchupError:
            raise
        except Exception as error:
            raise ModelError(f"{what} ({self._log.reason(error)}); {remedy}.") from error

    def _send(self, weights: Mapping[str, Tensor]) -> None:
        """Passes weights on to vLLM's own processes, by a file that is there meanwhile."""
        size = sum(weight.nbytes for weight in weights.values())
        with tempfile.TemporaryDirectory(dir=_folder_with_room(size)) as folder:
            path = f"{folder}/weights.safetensors"
            save_file({name: weight.to("cpu", copy=True).contiguous() for name, weight in weights.items()}, path)
            self._llm.collective_rpc("take_weights", args=(path,))

    def _forget_prompts(self) -> None:
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not drop its cache of prompts.")

    def _check_fits(self, prompts: Sequence[Sequence[int]], decoding: Decoding) -> None:
        if not (decoding.greedy or LOWEST_TEMPERATURE <= decoding.temperature <= HIGHEST_TEMPERATURE):
            raise UsageError(
                f"vLLM samples at temperature 0 or {LOWEST_TEMPERATURE} to {HIGHEST_TEMPERATURE}, not "
                f"{decoding.temperature}; use --engine transformers."
            )
        longest = max(map(len, prompts)) + decoding.max_new_tokens
        room = self._llm.model_config.max_model_len
        if longest > room:
            raise ModelError(
                f"Prompt and output may take {longest} tokens, and vLLM has room for {room}; lower --max-new-tokens or "
                "use --engine transformers."
            )

    def _gap(self, model: LanguageModel) -> float:
        """How far log-probabilities of a few tokens are from torch's; weights that went astray show here."""
        special = (*model.eos_ids, model.pad_id)
        # First and last tokens are often special ones, on which a model in bfloat16 can be far from itself in float32.
        middle = range(model.vocabulary // 2, min(model.vocabulary // 2 + 64, model.vocabulary))
        tokens = cycle(index for index in middle if index not in special)
        prompt, answer = list(islice(tokens, 8)), list(islice(tokens, 16))
        asked = self._parameters(prompt_logprobs=0, max_tokens=1, detokenize=False)
        with _randomness_kept(model.device):
            scored = self._llm.generate({"prompt_token_ids": prompt + answer}, asked, use_tqdm=False)[0]
        of_answer = zip(scored.prompt_logprobs[len(prompt) :], answer, strict=True)
        theirs = torch.tensor([found[token].logprob for found, token in of_answer])
        actions = torch.tensor([answer], device=model.device)
        with torch.inference_mode():
            rows = torch.zeros(1, dtype=torch.long, device=model.device)
            hidden = hidden_states(model, context(model, [prompt]), rows, actions)
            ours = logits(model, hidden).log_softmax(-1).gather(-1, actions[..., None])[0, :, 0].cpu()
        return float((theirs - ours).abs().mean())


def _told(output: Any) -> list[float]:
    """The log-probability that each token of an output was drawn with."""
    return [found[token].logprob for token, found in zip(output.token_ids, output.logprobs, strict=True)]


def _vllm() -> Any:
    """The package. It reads its settings from the environment, in part as it is imported."""
    if find_spec("vllm") is None:
        raise UsageError('--engine vllm needs vLLM; install it with pip install "ketchup-kd[vllm]".')
    os.environ.update(SETTINGS)
    for name, value in OF_LOGGING.items():
        os.environ.setdefault(name, value)
    with _quietly(), ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(_imported).result()


def _imported() -> Any:
    """What it loads it keeps the frames of, and so all that waits for it: in a thread that is no engine."""
    vllm = import_module("vllm")
    for name in ("LLM", "ModelRegistry", "SamplingParams"):
        getattr(vllm, name)
    return vllm


def _check(model: LanguageModel, dtype: torch.dtype, vllm: Any) -> None:
    """Raises `UsageError` for a model, or a run, that vLLM cannot sample for."""
    kind = type(model.network).__name__
    if model.encoder_decoder or kind not in vllm.ModelRegistry.get_supported_archs():
        raise UsageError(f"vLLM cannot run {model.name!r} ({kind}); use --engine transformers.")
    if dtype not in PROBE_TOLERANCE:
        raise UsageError(f"vLLM cannot run {model.name!r} in {name_of(dtype)}; use --engine transformers.")


def _without_weights(model: LanguageModel, dtype: torch.dtype, vllm: Any, options: Mapping[str, Any]) -> Any:
    """A vLLM that knows the architecture and has random weights: real ones come by `update`, first and later alike."""
    config = copy.deepcopy(model.network.config)
    config.architectures = [type(model.network).__name__]
    for part in (config, config.get_text_config()):
        part.vocab_size = model.vocabulary
        part.tie_word_embeddings = False  # a tied head would stay as it was when weights are handed over
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return vllm.LLM(
            folder,
            load_format="dummy",
            skip_tokenizer_init=True,
            generation_config="vllm",  # none of a model's own settings of sampling
            logprobs_mode="processed_logprobs",  # at the temperature and within the top k
            dtype=dtype,
            enforce_eager=True,  # no minutes of compiling
            max_model_len=-1,  # all that the model allows and memory holds
            **options,
        )


def _weights(model: LanguageModel) -> dict[str, Tensor]:
    """All weights under their names in a checkpoint, without padding rows; a head has its own even where it is tied."""
    network = model.network
    head = network.get_output_embeddings()
    of_tokens = [network.get_input_embeddings().weight, head.weight, getattr(head, "bias", None)]
    rows = {id(weight) for weight in of_tokens if weight is not None}
    state = {
        name: weight.detach()[: model.vocabulary] if id(weight) in rows else weight.detach()
        for name, weight in network.state_dict(keep_vars=True).items()
    }
    return dict(revert_weight_conversion(network, state))


def _folder_with_room(size: int) -> str | None:
    """A folder in memory with room for so many bytes twice, else the usual one for temporary files."""
    usable = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    return str(SHARED_MEMORY) if usable and shutil.disk_usage(SHARED_MEMORY).free > 2 * size else None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the warnings of libraries to each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _randomness_kept(device: torch.device) -> Iterator[None]:
    """vLLM seeds the generators of the process when it starts and draws from them later; they are put back.

    Those of the other GPUs are left alone, as looking at them opens a context on each.
    """
    python, numbers = random.getstate(), np.random.get_state()
    own = [device] if device.type != "cpu" else []
    try:
        with torch.random.fork_rng(own, device_type=device.type):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
