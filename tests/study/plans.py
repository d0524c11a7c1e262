"""A small plan as text, for tests to vary."""

from pathlib import Path

PLAN = """
name = "tiny"
seeds = [0, 1]
reference = "llmr"
[tasks.demo]
[teachers.teacher]
model = "demo-teacher"
[students.made]
layers = 1
[students.made.start]
method = "seqkd"
steps = 2
[students.far]
model = "demo-student-3"
seeds = [7]
[methods.llmr]
[methods.k4]
method = "ketchup"
k = 4
[train]
batch_size = 4
[variance]
k = [1, 4]
[evaluate]
limit = 8
[compare]
"""


def plan_file(folder: Path, text: str = PLAN) -> Path:
    """The plan in a file."""
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path
