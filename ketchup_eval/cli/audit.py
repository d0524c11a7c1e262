"""`ketchup audit FILE.py:FUNCTION`: what an advantage code really estimates."""

from typing import Annotated

import typer

from ketchup.choices import AuditSignature
from ketchup_eval.cli.command import EXIT_ERROR
from ketchup_eval.cli.output import say, say_json


def audit(
    target: Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="the function, as it is in a trainer")],
    signature: Annotated[
        AuditSignature,
        typer.Option(help="what it is given and returns; docs/audit.md has an example of each"),
    ] = "weights",
    expect: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="exit 1 unless it is this objective or row, as sequence-kl or k-step:2"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of sentences")] = False,
) -> None:
    """Say which objective's gradient a function estimates, exactly, in a world small enough to enumerate."""
    from ketchup_eval.audit.verdict import audit as audited

    found = audited(target, signature, expect)
    if as_json:
        say_json(found.as_json())
    else:
        from ketchup_eval.report.audit_text import audit_text

        say(audit_text(found))
    if found.as_expected is False:
        raise typer.Exit(EXIT_ERROR)
