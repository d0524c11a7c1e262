"""The files of a study's report, in `report/` of its folder."""

from collections.abc import Sequence
from pathlib import Path

from ketchup.files import atomic_write_text
from ketchup_eval.report.study.tables import StudyTable
from ketchup_eval.report.study.written import as_csv, as_latex, as_markdown

REPORT = "report"
WRITERS = {"md": as_markdown, "csv": as_csv, "tex": as_latex}


def write_tables(tables: Sequence[StudyTable], folder: Path) -> list[Path]:
    """Writes each kind of table as .md, .csv and .tex, of which those of all students go into one file."""
    written = []
    for kind in dict.fromkeys(table.kind for table in tables):
        for ending, text in WRITERS.items():
            path = folder / REPORT / f"{kind}.{ending}"
            atomic_write_text(path, text([table for table in tables if table.kind == kind]))
            written.append(path)
    return written
