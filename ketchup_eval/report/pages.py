"""What all HTML pages share: one file each, readable without network or server, in which texts of others stay texts.

`templates/base.html` has the policy that lets a page load nothing, and the colours by day and by night.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup.files import atomic_write_text
from ketchup_eval.stats.bootstrap import Estimate


@dataclass(frozen=True)
class Bar:
    """An estimate as a picture: places in per cent of the width, and the text beside it."""

    label: str
    text: str
    value: float | None
    low: float | None
    high: float | None


def share_bar(label: str, estimate: Estimate, lowest: float, highest: float) -> Bar:
    """The bar of a share, from `lowest` at the left to `highest` at the right; its text is in per cent."""

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - lowest) / (highest - lowest), 2)

    text = "-" if estimate.value is None else f"{100 * estimate.value:.1f}%"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return Bar(label, text, place(estimate.value), place(estimate.low), place(estimate.high))


def write_page(template: str, path: Path, data: Any, **values: Any) -> Path:
    """Writes a page from a template of `templates/`, which has `data` as JSON that its script reads.

    Texts are only ever put into the page as text, so markup in them stays inert.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ketchup_eval.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(data=script_json(data), **values)
    atomic_write_text(path, page.encode("utf-8", "replace").decode())
    return path


def script_json(content: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end the element or open a comment.

    Numbers that are not finite, which no browser reads, are null.
    """
    text = json.dumps(_finite(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
