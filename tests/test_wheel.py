"""The wheel: what is in it, and that it works installed, away from the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import ketchup
from ketchup.models.builtin import DEMO_MODELS
from ketchup.tasks import TASKS
from ketchup.training.presets import PRESETS

ROOT = Path(__file__).parents[1]
PACKAGES = ("ketchup", "ketchup_eval")
PACKAGE_FOLDERS = tuple(f"{name}/" for name in PACKAGES)
DIST_INFO = f"ketchup_kd-{ketchup.__version__}.dist-info"
PROMPTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "prompts").glob("*/*.txt"))


def run(*command, cwd, **environment):
    """Output of a command that must succeed, with no way to the checkout through the environment."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=variables | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """The scripts of a new environment that holds the wheel; this one's packages stand behind it as dependencies."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True, with_pip=False)
    paths = {name: Path(sysconfig.get_path(name, "venv", {"base": str(home)})) for name in ("purelib", "scripts")}
    # Python reads no .pth file of a folder that a .pth file names, so an editable ketchup there stays out of sight.
    (paths["purelib"] / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = paths["scripts"] / "python"
    options = ["--no-deps", "--no-index", "--ignore-installed", "--disable-pip-version-check"]
    run(python, "-m", "pip", "install", *options, wheel, cwd=home)
    return paths["scripts"]


def test_the_wheel_holds_both_packages_prompts_demo_models_and_the_license(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert sources <= names
    assert {f"ketchup_eval/{prompt}" for prompt in PROMPTS} <= names
    assert PROMPTS
    for folder in DEMO_MODELS.values():
        for file in ("config.json", "model.safetensors", "tokenizer.json", "manifest.json"):
            assert f"ketchup/models/demo/{folder}/{file}" in names
    assert f"{DIST_INFO}/licenses/LICENSE" in names


def test_the_wheel_holds_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    allowed = ("ketchup_eval/prompts/", "ketchup_eval/report/templates/", "ketchup/models/demo/", f"{DIST_INFO}/")
    expected = {f"ketchup/training/presets/{name}.toml" for name in PRESETS}
    expected |= {f"ketchup/tasks/{name}.toml" for name in TASKS}
    expected |= {"ketchup/py.typed", "ketchup_eval/py.typed"}
    assert expected <= set(names)
    others = [name for name in names if not name.startswith(allowed) and name not in expected]
    assert [name for name in others if not (name.startswith(PACKAGE_FOLDERS) and name.endswith(".py"))] == []
    assert {Path(name).suffix for name in names if name.startswith("ketchup_eval/prompts/")} == {".txt"}


def test_the_installed_packages_are_the_ones_of_the_wheel(installed, tmp_path):
    script = "import ketchup, ketchup_eval; print(ketchup.__file__); print(ketchup_eval.__file__)"
    files = run(installed / "python", "-c", script, cwd=tmp_path).splitlines()
    assert all(Path(file).is_relative_to(installed.parent) for file in files)


def test_the_installed_program_says_its_version(installed, tmp_path):
    assert run(installed / "ketchup", "--version", cwd=tmp_path) == f"ketchup {ketchup.__version__}\n"


def test_the_installed_judge_finds_its_templates(installed, tmp_path):
    script = "from ketchup_eval.judge.criteria import template; print(template('summarization', 'overall'), end='')"
    expected = (ROOT / "prompts/summarization/overall.txt").read_text(encoding="utf-8")
    assert run(installed / "python", "-c", script, cwd=tmp_path) == expected


def test_the_installed_program_measures_with_the_demo_models(installed, tmp_path):
    arguments = ["variance", "--k", "1", "2", "--limit", "2", "--samples", "2", "--threads", "1"]
    run(installed / "ketchup", *arguments, cwd=tmp_path, KETCHUP_CACHE=str(tmp_path / "cache"))
    written = {path.name for path in (tmp_path / "runs/variance-demo").iterdir()}
    assert {"manifest.json", "variance.json", "variance.csv", "variance.png", "variance.pdf", "rollouts"} <= written
