"""A graph in the words of others: lines for a shell, and a Snakemake workflow."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ketchup.redaction import redacted_command
from ketchup.texts import one_line
from ketchup_eval.study.node import Node
from ketchup_eval.study.running import PROGRAM
from ketchup_eval.study.stamps import FOLDER

HEAD = """# Written by `ketchup study {plan} --snakefile FILE`: the graph of the study, a rule for each command.
#     snakemake -s FILE --cores 2                                  on this machine
#     snakemake -s FILE --executor slurm --jobs 50                 on a Slurm cluster (snakemake-executor-plugin-slurm)
# What a job may take is said by --default-resources, as mem_mb=64000 runtime=600 slurm_extra="'--gres=gpu:1'".
# The page, study.html, is brought up to date as commands end, at most once a minute. The last rule writes it with all
# tables and figures, where Snakemake itself runs; so does a workflow that fails.

localrules: all, page

rule all:
    input:
        {report}

onerror:
    shell({command})

rule page:
    input:
        {marks},
    output:
        touch({report}),
    shell:
        {command}
"""
RULE = """
# {kind}: {line}
rule {rule}:
    input:
        {needs}
    output:
        touch({output}),
    threads: {threads}
    shell:
        {shell}
"""


def shell_line(node: Node) -> str:
    """The command as one types it, but for keys and passwords; a chosen learning rate is read from its file."""
    line = shlex.join(["ketchup", *redacted_command(node.words)])
    return f'{line} --learning-rate "$(cat {shlex.quote(str(node.rate))})"' if node.rate else line


def snakefile(nodes: Iterable[Node], study: Sequence[str], folder: Path, threads: int) -> str:
    """A workflow with a rule for each node, which runs `ketchup study PLAN --node NAME` and so keeps stamp and log.

    `study` are the words of the study after `ketchup`: the plan, and where its rows and runs are. The last rule writes
    the report.
    """
    nodes = list(nodes)
    program = [*PROGRAM, *study]  # by the Python that writes this: `ketchup` need not be on the PATH of a job
    rules = {node.name: f"node_{number}" for number, node in enumerate(nodes)}
    text = HEAD.format(
        plan=one_line(study[1]),
        marks=",\n        ".join(_mark(folder, name) for name in rules),
        report=_mark(folder, "report"),
        command=_quoted(shlex.join([*program, "--report"])),
    )
    for node in nodes:
        text += RULE.format(
            kind=node.kind,
            line=one_line(shell_line(node)),
            rule=rules[node.name],
            needs="\n        ".join(f"{_mark(folder, name)}," for name in node.needs if name in rules) or "[],",
            output=_mark(folder, node.name),
            threads=threads if node.threads else 1,
            shell=_quoted(shlex.join([*program, "--node", node.name, "--report"]), " --threads {threads}"),
        )
    return text


def _mark(folder: Path, name: str) -> str:
    return _quoted(str(folder / FOLDER / f"{name}.snakemake"))


def _quoted(text: str, more: str = "") -> str:
    """As Python reads it, with Snakemake's own braces only in `more`."""
    return json.dumps(_braced(text) + more, ensure_ascii=False)


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def counts(nodes: Mapping[str, Node]) -> str:
    """How many commands of each kind there are."""
    kinds = [node.kind for node in nodes.values()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
