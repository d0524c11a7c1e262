"""A graph in the words of others: lines for a shell, and a Snakemake workflow."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ketchup_eval.study.node import Node
from ketchup_eval.study.running import PROGRAM
from ketchup_eval.study.stamps import FOLDER

HEAD = """# Written by `ketchup study {plan} --snakefile FILE`: the graph of the study, a rule for each command.
#     snakemake -s FILE --cores 2                                  on this machine
#     snakemake -s FILE --executor slurm --jobs 50                 on a Slurm cluster (snakemake-executor-plugin-slurm)
# What a job may take is said by --default-resources, as mem_mb=64000 runtime=600 slurm_extra="'--gres=gpu:1'".

rule all:
    input:
        {targets},
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
    """The command as one types it; a chosen learning rate is read from its file."""
    line = shlex.join(["ketchup", *node.words])
    return f'{line} --learning-rate "$(cat {shlex.quote(str(node.rate))})"' if node.rate else line


def snakefile(nodes: Iterable[Node], plan: Path, folder: Path, threads: int, data: Sequence[str] = ()) -> str:
    """A workflow with a rule for each node, which runs `ketchup study PLAN --node NAME` and so keeps stamp and log.

    `data` are the folders of rows that the command was given.
    """
    nodes = list(nodes)
    rules = {node.name: f"node_{number}" for number, node in enumerate(nodes)}
    targets = ",\n        ".join(json.dumps(_mark(folder, name)) for name in rules)
    text = HEAD.format(plan=plan, targets=targets)
    for node in nodes:
        needs = [f"{json.dumps(_mark(folder, name))}," for name in node.needs if name in rules]
        # by the Python that writes this: `ketchup` need not be on the PATH of a job
        run = [*PROGRAM, "study", str(plan), "--node", node.name, "--runs-dir", str(folder.parent)]
        run += ["--data", *data] if data else []
        text += RULE.format(
            kind=node.kind,
            line=shell_line(node),
            rule=rules[node.name],
            needs="\n        ".join(needs) or "[],",
            output=json.dumps(_mark(folder, node.name)),
            threads=threads if node.threads else 1,
            shell=json.dumps(_braced(shlex.join(run)) + " --threads {threads}"),
        )
    return text


def _mark(folder: Path, name: str) -> str:
    return str(folder / FOLDER / f"{name}.snakemake")


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def counts(nodes: Mapping[str, Node]) -> str:
    """How many commands of each kind there are."""
    kinds = [node.kind for node in nodes.values()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
