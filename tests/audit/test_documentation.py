"""The examples of docs/audit.md are what the page says."""

import re
from pathlib import Path

import pytest

from ketchup_eval.audit.objectives import OBJECTIVES
from ketchup_eval.audit.signatures import ALIASES, FORMS, PLAIN
from ketchup_eval.audit.verdict import audit

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- audit: --signature (\w+) --expect (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL)


def test_each_signature_has_an_example():
    assert [signature for signature, *_ in EXAMPLES] == list(FORMS)


@pytest.mark.parametrize(("signature", "expect", "source"), EXAMPLES)
def test_an_example_is_what_the_page_says(tmp_path, signature, expect, source):
    (tmp_path / "mine.py").write_text(source)
    name = re.search(r"def (\w+)", source)[1]
    found = audit(f"{tmp_path}/mine.py:{name}", signature, expect)
    assert found.as_expected, found.findings


def test_names_are_on_the_page():
    for name in (*PLAIN, *OBJECTIVES):
        assert f"`{name}`" in PAGE
    for form in (form for signature in ("trl", "verl", "tinker") for form in FORMS[signature]):
        for name in form.names:
            assert name in PAGE
    assert set(ALIASES.values()) <= PLAIN.keys()
