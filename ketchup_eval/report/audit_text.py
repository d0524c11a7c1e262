"""An audit in sentences."""

from ketchup_eval.audit.sentences import MATTERS
from ketchup_eval.audit.verdict import Audit

MARKS = {"fault": "FAULT", "note": "note "}


def audit_text(found: Audit) -> str:
    """The verdict, then what was found, one sentence a line."""
    lines = [f"{found.function} ({found.signature}): {found.verdict}"]
    lines += [f"  {MARKS[finding.level]} {finding.sentence}" for finding in found.findings]
    if not found.faults:
        lines.append(f"  No fault was found; it does not depend on {', '.join(MATTERS[kind] for kind in found.tried)}.")
    return "\n".join([*lines, found.expectation] if found.expectation else lines)
