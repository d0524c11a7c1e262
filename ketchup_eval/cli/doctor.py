"""`ketchup doctor`: whether what a command needs is there and works."""

from typing import Annotated

import typer

from ketchup.errors import UsageError
from ketchup_eval.cli.command import EXIT_ERROR
from ketchup_eval.cli.output import say


def doctor(
    judge: Annotated[bool, typer.Option("--judge", help="check the judge's server")] = False,
    model: Annotated[str, typer.Option(help="as the server calls it")] = "Qwen/Qwen2.5-72B-Instruct",
    base_url: Annotated[str, typer.Option(help="OpenAI-compatible")] = "http://127.0.0.1:8000/v1",
) -> None:
    """Check what the judge needs - server, model, context length, a reply it can read - and extras it can use."""
    if not judge:
        raise UsageError("Say what to check: --judge.")
    from ketchup_eval.judge.health import checks
    from ketchup_eval.judge.judge_settings import ReplySettings

    found = checks(base_url, ReplySettings(model))
    for check in found:
        say(f"{'ok  ' if check.well else 'FAIL'} {check.name}: {check.sentence}")
    if not all(check.well for check in found if check.needed):
        raise typer.Exit(EXIT_ERROR)
