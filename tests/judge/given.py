"""Pairs to judge, as files: short articles and the outputs of a few systems."""

import json

from typer.testing import CliRunner

from ketchup_eval.cli import app
from tests.judge.mock_server import MODEL, Answer


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_inputs(folder, items=5, systems=("a", "b"), sentences=0):
    """`data/test.jsonl` in XSum's form, and `SYSTEM.jsonl` for each system."""
    ids = [f"id-{n}" for n in range(items)]
    rows = [
        {"id": id, "document": f"Article {id}: the bridge is closed." + " It is old." * sentences, "summary": "Closed."}
        for id in ids
    ]
    write_jsonl(folder / "data/test.jsonl", rows)
    for system in systems:
        rows = [
            {"id": id, "prediction": f"Summary of {id} by {system}." + " More." * (n % 3)} for n, id in enumerate(ids)
        ]
        write_jsonl(folder / f"{system}.jsonl", rows)


def words(folder, base_url, *, a=("a",), b="b", criteria=("overall",), **options):
    """The command line of a judge on these files."""
    given = {"task": "xsum", "data": folder / "data", "runs-dir": folder / "runs", "base-url": base_url}
    given |= {"model": MODEL, "resamples": 50, "timeout": 20} | {k.replace("_", "-"): v for k, v in options.items()}
    command = ["judge", "--a", *(str(folder / f"{name}.jsonl") for name in a), "--b", str(folder / f"{b}.jsonl")]
    command += ["--criteria", *criteria]
    for name, value in given.items():
        if value is not False:
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return command


def verdict_rows(folder):
    """What the store holds."""
    return [json.loads(line) for line in (folder / "runs/judge/verdicts.jsonl").read_text().splitlines()]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def result(folder):
    return json.loads((folder / "runs/judge/judge.json").read_text())


def prefers(letter):
    return lambda prompt, attempt, body: Answer(f"Why: because.\nPreferred: {letter}")


def prefers_first(prompt, attempt, body):
    first = prompt.index("Summary [A]") < prompt.index("Summary [B]")
    return Answer(f"Why: because.\nPreferred: {'A' if first else 'B'}")
