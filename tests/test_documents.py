"""The documents beside the README: what they name exists, and all give one version."""

import ast
import pydoc
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import ketchup
from tests.equations import functions_by_test

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?:\.ci|\.github|docs|ketchup|ketchup_eval|prompts|scripts|tests)/[\w./-]*(?:::\w+)?")
NAME = re.compile(r"ketchup(?:_eval)?(?:\.\w+)+")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def prose(page):
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """As GitHub makes them of headings: lower case, hyphens for spaces, no other punctuation."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def named(pattern):
    """Page and word of everything in backticks that has this form."""
    return [
        pytest.param(page, word, id=f"{page.name}-{word}")
        for page in PAGES
        for word in dict.fromkeys(re.findall(r"`([^`\n]+)`", prose(page)))
        if pattern.fullmatch(word)
    ]


LINKS = [
    pytest.param(page, link, id=f"{page.name}-{link}")
    for page in PAGES
    for link in dict.fromkeys(LINK.findall(prose(page)))
    if "://" not in link
]
PATHS, NAMES = named(PATH), named(NAME)


def defines(path, name):
    """Whether a module's own text defines a name, without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        if name in {getattr(target, "id", getattr(target, "name", None)) for target in targets}:
            return True
        if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
            return True
    return False


def module_file(dotted):
    base = ROOT.joinpath(*dotted.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def steps(workflow):
    (job,) = yaml.safe_load(text_of(f".github/workflows/{workflow}.yml"))["jobs"].values()
    return job["steps"]


def test_the_tables_below_are_not_empty():
    pages = {param.values[0].name for table in (LINKS, PATHS, NAMES) for param in table}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= pages


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_to_a_file_and_a_heading(page, link):
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


@pytest.mark.parametrize(("page", "word"), PATHS)
def test_a_named_path_or_test_exists(page, word):
    path, _, function = word.partition("::")
    assert (ROOT / path).exists()
    assert not function or defines(ROOT / path, function)


@pytest.mark.parametrize(("page", "word"), NAMES)
def test_a_named_module_function_or_table_exists(page, word):
    parent, _, name = word.rpartition(".")
    if parent == "ketchup" and name in ketchup.__all__:
        return  # loaded at its first use, so that the module's text does not define it
    if ROOT.joinpath(*word.split(".")).is_dir() or module_file(word):
        return
    if module := module_file(parent):
        assert defines(module, name)
    else:
        assert pydoc.locate(word) is not None  # a method


def test_the_table_of_equations_is_read():
    """Its rows are held to be true by `tests/conftest.py`, which must not see an empty table."""
    assert len(functions_by_test()) >= 15


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Fan", "Luo", "Bowling", "Mou"]
    assert f"version = {{{PROJECT['version']}}}" in text_of("README.md")


def test_the_changelog_has_this_version_below_what_is_unreleased():
    versions = re.findall(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions[1] == PROJECT["version"]


def test_every_table_that_can_be_added_to_is_in_the_guide():
    guide = text_of("CONTRIBUTING.md")
    for table in ("tasks.TASKS", "methods.METHODS", "estimators.ESTIMATORS", "estimators.BASELINES"):
        assert f"`ketchup.{table}`" in guide
    for table in (
        "ketchup.rollouts.engines.ENGINES",
        "ketchup_eval.metrics.METRICS",
        "ketchup_eval.judge.criteria.FIELDS",
    ):
        assert f"`{table}`" in guide


def test_hooks_run_the_installed_ruff():
    repositories = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    assert {repository["repo"] for repository in repositories} == {"local"}
    assert {hook["id"]: hook["entry"].split()[:2] for hook in hooks} == {
        "ruff": ["ruff", "check"],
        "ruff-format": ["ruff", "format"],
    }
    assert {hook["language"] for hook in hooks} == {"system"}


@pytest.mark.parametrize("workflow", ["ci", "release"])
def test_workflows_use_the_oldest_python_that_is_supported(workflow):
    (version,) = [step["with"]["python-version"] for step in steps(workflow) if "setup-python" in step.get("uses", "")]
    assert PROJECT["requires-python"] == f">={version}"


def test_pushes_and_pull_requests_are_checked_by_the_whole():
    triggers = yaml.safe_load(text_of(".github/workflows/ci.yml"))[True]  # YAML 1.1 reads the key `on` as true
    assert {"push", "pull_request"} <= set(triggers)
    assert ".ci/run" in [step.get("run") for step in steps("ci")]
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


def test_a_tag_builds_the_wheel():
    assert yaml.safe_load(text_of(".github/workflows/release.yml"))[True] == {"push": {"tags": ["v*"]}}
    assert any("python -m build --wheel" in step.get("run", "") for step in steps("release"))
