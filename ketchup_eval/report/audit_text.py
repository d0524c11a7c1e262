"""An audit in sentences."""

from ketchup_eval.audit.verdict import Audit

MARKS = {"fault": "FAULT", "note": "note "}


def audit_text(found: Audit) -> str:
    """The verdict, then what was found, one sentence a line."""
    lines = [f"{found.function} ({found.signature}): {found.verdict}"]
    lines += [f"  {MARKS[finding.level]} {finding.sentence}" for finding in found.findings]
    if not any(finding.level == "fault" for finding in found.findings):
        lines.append(
            "  No fault: padding, width, order, other prompts, environment tokens, dtype and constants do not matter."
        )
    return "\n".join([*lines, found.expectation] if found.expectation else lines)
