"""The tables of a study, byte by byte, for one whose numbers were made up: which is bold, which p is shown."""

import csv
import io
import re

from rich.console import Console

from ketchup_eval.report.study.files import write_tables
from ketchup_eval.report.study.tables import study_tables
from ketchup_eval.report.study.written import as_csv, as_latex, as_markdown, in_terminal
from tests.report.studies import comparison, judged, method, model, number, study, training

HOSTILE = "x_1 & [/b]|**y**<script>$^{\\~#%\x1b[31m"


def two_tasks():
    """TER is better where it is lower; llmr has one seed on the second task, k4 none there yet."""
    return study(
        tasks=("de-en", "sums"),
        methods=[
            model("start", "de-en", {"ter": (100.0, 98.0, 102.0)}, student="small"),
            model("teacher", "de-en", {"ter": (60.0, 59.0, 61.0)}, teacher="teacher"),
            model("teacher", "de-en", {"ter": (10.0,)}, teacher="another"),
            method("llmr", "de-en", "small", {"ter": [70.0, 72.0], "return": [3.0, 4.0]}, {"ter": (58.29, 83.71)}),
            method("k4", "de-en", "small", {"ter": [66.0, 67.0], "return": [2.0, 4.0]}),
            method("llmr", "sums", "small", {"accuracy": [25.0]}, {"accuracy": (15.0, 38.0)}),
        ],
        comparisons=[
            comparison("k4", "de-en", "small", "ter", p=0.00001, holm=0.00002),
            comparison("k4", "de-en", "small", "return", p=0.03, holm=0.06),
            comparison("k4", "de-en", "large", "ter", p=0.5, holm=0.5),
        ],
    )


def test_table_1_in_latex():
    assert as_latex(study_tables(two_tasks())).split("\n", 1)[1] == (
        r"""\begin{tabular}{lrccc}
\toprule
 &  & \multicolumn{2}{c}{de-en} & \multicolumn{1}{c}{sums} \\
\cmidrule(lr){3-4}\cmidrule(lr){5-5}
Method & Seeds & ter $\downarrow$ & return $\uparrow$ & accuracy $\uparrow$ \\
\midrule
Teacher: teacher & -- & 60.00 & -- & -- \\
 &  & {\scriptsize {[}59.00, 61.00{]}} &  &  \\
Student as it begins & -- & 100.00 & -- & -- \\
 &  & {\scriptsize {[}98.00, 102.00{]}} &  &  \\
\midrule
llmr & 1--2 & 71.00 & \textbf{3.50} & \textbf{25.00} \\
 &  & {\scriptsize {[}58.29, 83.71{]}} &  & {\scriptsize {[}15.00, 38.00{]}} \\
k4 & 2 & \textbf{66.50} & 3.00 & -- \\
 &  & {\scriptsize p \textless{} 0.0001} & {\scriptsize p = 0.0600} &  \\
\bottomrule
\end{tabular}
"""
    )


def test_table_1_in_markdown():
    assert as_markdown(study_tables(two_tasks())).split("\n\n")[1] == (
        r"""| method | seeds | de-en ter ↓ | de-en return ↑ | sums accuracy ↑ |
|---|---:|---:|---:|---:|
| Teacher: teacher | - | 60.00 \[59.00, 61.00\] | - | - |
| Student as it begins | - | 100.00 \[98.00, 102.00\] | - | - |
| llmr | 1-2 | 71.00 \[58.29, 83.71\] | **3.50** | **25.00** \[15.00, 38.00\] |
| k4 | 2 | **66.50** p \< 0.0001 | 3.00 p = 0.0600 | - |"""
    )


def test_the_csv_has_every_number_once_and_nothing_that_is_absent():
    rows = list(csv.DictReader(io.StringIO(as_csv(study_tables(two_tasks())))))
    assert len(rows) == 7
    assert [row["best"] for row in rows] == ["false", "false", "false", "true", "true", "true", "false"]
    last = rows[-2]
    assert (last["row"], last["score"], last["value"], last["low"], last["seeds"], last["p"], last["n"]) == (
        *("k4", "ter", "66.5", "", "2", "2e-05", "2"),
    )
    assert rows[0]["seeds"] == ""


def test_the_terminal_has_a_table_for_each_task_with_the_rows_that_have_numbers_there():
    out = io.StringIO()
    for table in in_terminal(study_tables(two_tasks())):
        Console(file=out, width=160).print(table)
    first, second = out.getvalue().split("sums: scores of student small")
    assert first.startswith("de-en: scores of student small")
    assert "66.50* p < 0.0001" in first
    assert "k4" not in second
    assert "25.00* [15.00, 38.00]" in second


def test_what_is_shown_as_the_same_number_is_as_good():
    rows = [method(name, "demo", "small", {"accuracy": [x]}) for name, x in (("a", 25.001), ("b", 25.002), ("c", 24.9))]
    (table,) = study_tables(study(methods=rows))
    assert [cell.best for row in table.rows for cell in row.cells.values()] == [True, True, False]


def test_table_2_has_win_rates_in_per_cent_with_their_p():
    rates = {"tvd": {"overall": (0.55, 0.2)}, "k4": {"overall": (0.735, 0.00002)}}
    runs = [training("tvd", "demo", "small", 0), training("k4", "demo", "small", 0)]
    (table,) = study_tables(study(runs=runs, judge=[judged("demo", "small", rates)]))
    assert table.title == "win rate over llmr, student small"
    assert as_markdown([table]).split("\n\n")[1].splitlines()[2:] == [
        r"| tvd | 1 | 55.00 \[50.00, 60.00\] p = 0.2000 |",
        r"| k4 | 1 | **73.50** \[68.50, 78.50\] p \< 0.0001 |",
    ]


def test_a_study_without_numbers_has_no_tables(tmp_path):
    assert study_tables(study()) == []
    assert write_tables([], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_student_of_which_nothing_is_there_has_no_table_of_its_teacher_alone():
    scores = {"accuracy": (50.0, 40.0, 60.0)}
    models = [model("teacher", "demo", scores, teacher="teacher")]
    models += [model(name, "demo", scores, student="small") for name in ("raw", "start")]
    (table,) = study_tables(study(students=("small", "large"), methods=models))
    assert table.student == "small"
    assert [row.name for row in table.rows] == [
        *(
            "Teacher: teacher",
            "Student before distillation",
            "Student as it begins",
        )  # rows 1 and 2 of Table 1, and ours
    ]


def test_names_are_texts_in_every_format():
    rows = [method(HOSTILE, "demo", "small", {"accuracy": [1.0]}), method("=1+1", "demo", "small", {"accuracy": [2.0]})]
    tables = study_tables(study(methods=rows))
    latex, markdown = as_latex(tables), as_markdown(tables)
    name = next(line for line in latex.splitlines() if line.startswith("x"))
    assert name.startswith(
        r"x\_1 \& {[}/b{]}\textbar{}{*}{*}y{*}{*}\textless{}script\textgreater{}\$\textasciicircum{}"
    )
    assert len(re.findall(r"(?<!\\)&", name)) == 2  # the columns, no more
    assert latex.count("{") == latex.count("}") + latex.count(r"\{") - latex.count(r"\}")
    line = next(line for line in markdown.splitlines() if "script" in line)
    assert line.startswith(r"| x\_1 \& \[/b\]\|\*\*y\*\*\<script\>\$^{\\\~\#%")
    assert "\x1b" not in latex + markdown
    assert "'=1+1" in as_csv(tables)


def test_foretold_methods_stand_from_the_best_gradient_on_with_what_they_reached():
    names = {"k4": 0.8, "llmr": 0.5, "k8": 0.6}
    ranking = [
        {"method": name, "estimator": "llmr", "cosine": number(value, value - 0.1, value + 0.1)}
        for name, value in names.items()
    ]
    frozen = {"task": "de-en", "student": "small", "frozen": "2026-01-02", "variance": "v", "ranking": ranking}
    content = {**two_tasks(), "rankings": [frozen]}
    (table,) = [one for one in study_tables(content) if one.kind == "foretold"]
    assert [row.name for row in table.rows] == ["k4", "k8", "llmr"]
    cosine, ter, reached = table.columns
    assert [column.score for column in table.columns] == ["expected cosine", "ter", "return"]
    best = table.rows[0].cells
    assert (best[cosine].estimate.value, best[cosine].sources, best[cosine].best) == (0.8, ("v",), True)
    assert (best[ter].estimate.value, best[ter].seeds, best[ter].best) == (66.5, 2, True)
    assert reached not in table.rows[1].cells  # K = 8 has not trained yet
    assert "frozen 2026-01-02" in table.about
