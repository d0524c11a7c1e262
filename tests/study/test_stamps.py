"""What is kept of commands: what decides their results, and no key."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ketchup.errors import RunError
from ketchup.manifests import check_same_settings
from ketchup_eval.cli import app
from ketchup_eval.study.node import Node, deciding
from ketchup_eval.study.stamps import Stamp, done_as_planned, read_stamps, stamp_path, write_stamp
from tests.study.given import plan_with_judge

WORDS = ("judge", "--a", "x", "--base-url", "http://a/v1", "--concurrency", "4", "--html", "--limit", "9")


def node(*words: str) -> Node:
    return Node("one", "judge", words)


def stamp(state: str, *words: str) -> Stamp:
    return Stamp(state, words, 1.0, "2026-01-01T00:00:00+00:00", 0)


def test_where_and_how_a_command_works_decides_no_result() -> None:
    assert deciding(WORDS) == ["judge", "--a", "x", "--limit", "9"]
    assert deciding(("judge", "--serve-options", "--dtype float32", "--a", "x")) == ["judge", "--a", "x"]


def test_a_study_goes_on_where_only_that_has_changed(tmp_path: Path) -> None:
    write_stamp(tmp_path, "one", stamp("done", *WORDS))
    other = node("judge", "--a", "x", "--limit", "9", "--base-url", "http://b/v1", "--retry-unparsed")
    assert done_as_planned(tmp_path, {"one": other}) == {"one"}
    with pytest.raises(RunError, match="it had --limit 9, the plan has --limit 8"):
        read_stamps(tmp_path, {"one": node(*WORDS[:-1], "8")})


def test_no_key_is_kept_and_another_one_is_no_other_setting(tmp_path: Path) -> None:
    words = ("train", "llmr", "--data", "https://me:hunter22@host/rows", "--steps", "2")
    write_stamp(tmp_path, "one", stamp("done", *words))
    assert "hunter22" not in stamp_path(tmp_path, "one").read_text(encoding="utf-8")
    for key in ("hunter22", "hunter23"):
        now = node(*(word.replace("hunter22", key) for word in words))
        assert done_as_planned(tmp_path, {"one": now}) == {"one"}


def test_a_command_that_made_nothing_may_be_mended(tmp_path: Path) -> None:
    """It failed at once, as for a model that is not there; with a run of its own it has settings to go on with."""
    write_stamp(tmp_path, "one", stamp("failed", "train", "--student", "studnet"))
    mended = {"one": node("train", "--student", "student")}
    assert read_stamps(tmp_path, mended) == {}
    check_same_settings(tmp_path / "one", {"student": "studnet"})
    with pytest.raises(RunError, match="it had --student studnet, the plan has --student student"):
        read_stamps(tmp_path, mended)


@pytest.mark.parametrize("way", ["--print", "--dry-run", "--snakefile"])
def test_keys_are_neither_printed_nor_written(tmp_path: Path, way: str) -> None:
    (tmp_path / "data").mkdir()
    secret = 'serve = "m"\nserve_options = """--api-key hunter22\n--dtype float32"""\nmodel = "m"\n'
    file = plan_with_judge(tmp_path, secret)
    words = [way, *([str(tmp_path / "Snakefile")] if way == "--snakefile" else [])]
    result = CliRunner().invoke(app, ["study", str(file), "--runs-dir", str(tmp_path / "runs"), *words])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "Snakefile").read_text(encoding="utf-8") if way == "--snakefile" else result.output
    assert "hunter22" not in text
    assert "--api-key ***" in text
    if way == "--snakefile":  # a value of several lines ends no comment
        compile(text.split("rule all")[0].replace("localrules: all, page", ""), "Snakefile", "exec")
        lines = text.splitlines()
        assert all(line.startswith(("#", " ", "rule ", "localrules", "onerror")) or not line for line in lines)


def test_a_stamp_of_before_with_a_key_is_read(tmp_path: Path) -> None:
    one = stamp("done", "judge", "--a", "x", "--serve-options", "--api-key hunter22")
    write_stamp(tmp_path, "one", replace(one, words=()))
    path = stamp_path(tmp_path, "one")
    content = {**json.loads(path.read_text(encoding="utf-8")), "words": list(one.words)}
    content.pop("crc32")
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_stamps(tmp_path, {"one": node(*one.words)})["one"].state == "done"
