"""Manifests: what a run was, which keeps it from going on as another."""

import json
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ketchup
from ketchup.errors import RunError
from ketchup.files import atomic_write_text, read_kept_json, run_lock, write_kept_json
from ketchup.kinds import TEXT, WHOLE, Kinds, misfit
from ketchup.redaction import redacted_command
from ketchup.runs import MANIFEST

if TYPE_CHECKING:
    from ketchup.processes import Processes  # torch, which a report does without

STARTED = ".started"
SECONDS_TO_SEE_A_FILE = 30.0
"""How long a file written on one machine may take to appear on another."""
RECORDED_PACKAGES = ("torch", "transformers", "ctranslate2", "vllm")
"""Those whose version may change a number; one that is not installed is left out."""
OF_SETTINGS: Kinds = {
    **dict.fromkeys(("task", "teacher", "data", "references", "prompt_style"), TEXT),
    "max_new_tokens": WHOLE,
}
"""Kinds of the settings that other commands take over, where a run has them."""
REMEDY = "put a copy of it back, delete the folder or use another --name"


def manifest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What is needed to repeat a run: its settings, the seed among them, and the circumstances of this process."""
    return {"settings": _as_json(settings), **_circumstances(), "resumed": []}


def check_same_settings(
    folder: Path,
    settings: Mapping[str, Any],
    results: Sequence[str] = (),
    circumstances: Mapping[str, Any] | None = None,
) -> None:
    """Make sure that a run goes on as it began; call it while holding the `run_lock`.

    A new folder gets a `manifest.json`. In an old one the circumstances of this process are added under `resumed`,
    those that only the caller knows among them; a `RunError` names each setting that differs, with both values.
    `results` are patterns of files that only a run with a manifest has: without it nobody knows their settings, which
    is a `RunError` too. A run that was stopped before it had any may begin anew with other settings.
    """
    path = folder / MANIFEST
    found = next((file for pattern in results for file in folder.glob(pattern)), None)
    if found and not path.exists():
        raise RunError(f"{folder} has {found.relative_to(folder)} but lost its {MANIFEST}; {REMEDY}.")
    recorded = read_manifest(folder) if path.exists() else None
    differences = _differences(recorded["settings"], _as_json(settings)) if recorded else []
    if recorded is None or (differences and results and not found):
        write_kept_json(path, {**manifest(settings), **(circumstances or {})})
        return
    if differences:
        raise RunError(
            f"{folder} holds a run with other settings: {', '.join(differences)}; "
            "use another --name or delete the folder."
        )
    recorded["resumed"].append({**_circumstances(), **(circumstances or {})})
    write_kept_json(path, recorded)


@contextmanager
def run_of_all(
    folder: Path,
    settings: Mapping[str, Any],
    processes: "Processes",
    *,
    results: Sequence[str],
    alike: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """A run directory that all processes work in: the main one holds its lock and checks the settings.

    The manifest says what each computes on, and by `note_circumstances` what came of what was left open. `alike` is
    what a run may go on with in other ways, but no process otherwise than the rest.
    Raises `RunError` where `check_same_settings` does, and where processes have other settings or another folder.
    """
    devices = processes.everywhere(processes.described)
    with lock_of_all(folder, processes):
        if processes.main:
            check_same_settings(folder, settings, results, {"devices": devices})
        _check_alike(folder, {**settings, **(alike or {})}, processes)
        yield


def note_circumstances(folder: Path, **facts: Any) -> None:
    """Adds to what the manifest of a run says of its last start; call it while holding the `run_lock`."""
    recorded = read_manifest(folder)
    last = recorded["resumed"][-1] if recorded["resumed"] else recorded
    for name, value in facts.items():
        before = last.get(name)
        last[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    write_kept_json(folder / MANIFEST, recorded)


@contextmanager
def lock_of_all(folder: Path, processes: "Processes", *, wait: bool = False) -> Iterator[None]:
    """A folder that no process of another command works in: the main one holds its lock for all."""
    with run_lock(folder, wait=wait) if processes.main else nullcontext():
        processes.wait()
        yield


def _check_alike(folder: Path, settings: Mapping[str, Any], processes: "Processes") -> None:
    if processes.count == 1:
        return
    mark = folder / STARTED
    token = processes.agreed(lambda: secrets.token_hex(8))
    if processes.main:
        atomic_write_text(mark, token)
    seen = processes.everywhere(_is_there(mark, token))
    asked: list[dict[str, Any]] = processes.everywhere(_as_json(settings))
    if processes.main:
        mark.unlink(missing_ok=True)
    if not all(seen):
        raise RunError(
            f"{folder} is not one folder for all {processes.count} processes (number {seen.index(False)} does not see "
            "what the first writes); put --runs-dir on a file system that all machines share."
        )
    for index, other in enumerate(asked):
        differences = _differences(asked[0], other, "is {} in the first and {} there")
        if differences:
            raise RunError(
                f"Process {index} was started with other settings or has other files: {', '.join(differences)}; start "
                "all by one command, on machines with the same files."
            )


def _is_there(mark: Path, token: str) -> bool:
    until = time.monotonic() + SECONDS_TO_SEE_A_FILE
    while time.monotonic() < until:
        with suppress(OSError):
            if mark.read_text() == token:
                return True
        time.sleep(0.05)
    return False


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run; a `RunError` if there is none or it is damaged."""
    path = folder / MANIFEST
    if not path.exists():
        raise RunError(f"{folder} is no run, as it has no {MANIFEST}; check the name.")
    recorded = read_kept_json(path, REMEDY)
    wrong = misfit(recorded, {"settings": dict, "resumed": list})
    wrong = wrong or misfit(recorded["settings"], OF_SETTINGS)
    if wrong:
        raise RunError(f"{path} is no manifest of a run, as {wrong}; {REMEDY}.")
    return recorded


def _circumstances() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *redacted_command(sys.argv[1:])],
        "versions": {"ketchup": ketchup.__version__, **_versions(RECORDED_PACKAGES)},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads() if torch else None,
        "git": _git_state(),
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _git_state() -> dict[str, Any] | None:
    """The commit of the working directory, and whether files differ from it; `None` outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a file: tuples are lists, paths and dtypes are text."""
    parsed: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return parsed


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], said: str = "was {} and is now {}") -> list[str]:
    """`k was 4 and is now 8` for each setting that differs, inner ones with a dotted name."""
    before, now = _flat(old), _flat(new)
    return [
        f"{name} {said.format(before.get(name, 'unset'), now.get(name, 'unset'))}"
        for name in sorted(before | now)
        if before.get(name, "unset") != now.get(name, "unset")
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value, ensure_ascii=False)
    return flat
