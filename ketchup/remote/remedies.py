"""What a failure means for whoever asked, with the fix: sentences that name the options of a command."""

from dataclasses import dataclass

from ketchup.remote.endpoint import KEY_VARIABLE, Endpoint
from ketchup.remote.failures import Failure


@dataclass(frozen=True)
class Asked:
    """A model behind a server, as a command names it: by which options."""

    endpoint: Endpoint
    model: str
    model_option: str

    def remedy(self, failure: Failure) -> str | None:
        """A sentence on what no call can escape, with its fix; `None` for any other failure."""
        shown, why = self.endpoint.shown, f"({failure.reason})"
        if failure.kind == "model":
            fix = f"name one that it serves with {self.model_option}, or check {self.endpoint.option}"
            return f"{shown} has no model {self.model!r} {why}; {fix}."
        if failure.kind == "quota":
            return f"{shown} says that credit is used up {why}; run the same command again when there is more."
        if failure.status in (401, 403):
            return f"{shown} refuses the key {why}; put a valid one into {KEY_VARIABLE}."
        return None

    def gone(self, reason: str, fix: str | None = None) -> str:
        """A sentence on a server that cannot be reached at all."""
        fix = fix or f"start it or name another {self.endpoint.option}"
        return f"{self.endpoint.shown} cannot be reached{self.endpoint.through} ({reason}); {fix}."
