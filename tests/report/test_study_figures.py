"""The figures of a study whose numbers were made up: what stands where, and pictures that are drawn once."""

import math

import pytest

from ketchup_eval.report.study.drawn import shown, write_figures
from ketchup_eval.report.study.figures import study_figures
from tests.report.studies import measured, method, study, training

K4 = {"k": 4, "tail": "one-step", "baseline": "none"}
HOSTILE = "x_1 $\\frac{a}{0}$ <script>"


def trained(students=("small",), **changes):
    """LLMR and two K on each student, two seeds each; k2 validates best."""
    runs, methods = [], []
    for student in students:
        for name, algorithm, options, best in (
            ("llmr", "llmr", {"baseline": "none"}, 1.0),
            ("k2", "ketchup", {**K4, "k": 2}, 3.0),
            ("k4", "ketchup", K4, 2.0),
        ):
            runs += [
                training(name, "demo", student, 0, (-5.0, -3.0, -1.0), algorithm, options),
                training(name, "demo", student, 1, (-5.0, -2.0, 0.0, 4.0), algorithm, options),
            ]
            methods.append(method(name, "demo", student, {"return": [1.0, 2.0]}, None, algorithm, options))
            methods[-1]["best_validation"] = best
    return study(students=students, arms=("llmr", "k2", "k4"), runs=runs, methods=methods, **changes)


def by_name(content):
    return {figure.name: figure for figure in study_figures(content)}


def test_a_method_is_the_mean_of_its_seeds_with_a_t_interval_and_each_seed_for_itself():
    (panel,) = by_name(trained())["figure1"].panels
    assert panel.title == "demo: small"
    mean, first, second = panel.series[:3]
    assert (mean.seed, mean.sources) == (None, ("small-demo-llmr-s0", "small-demo-llmr-s1"))
    assert [mark.x for mark in mean.line.marks] == [0, 4, 8]  # the steps of both
    last = mean.line.marks[-1].y
    assert last.value == -0.5
    assert last.high - last.value == pytest.approx(12.7062 * 0.5, rel=1e-4)  # t with one degree of freedom
    assert last.n == 2
    assert (first.seed, first.sources, len(second.line.marks)) == (0, ("small-demo-llmr-s0",), 4)
    assert [series.seed for series in shown(panel)] == [None] * 3


def test_one_seed_stands_for_itself_and_what_is_not_finite_is_left_out():
    runs = [training("llmr", "demo", "small", 7, (1.0, math.nan, 2.0, math.inf))]
    (panel,) = by_name(study(runs=runs))["figure1"].panels
    (series,) = shown(panel)
    assert (series.seed, [mark.x for mark in series.line.marks]) == (7, [0, 8])
    assert by_name(study(runs=[training("llmr", "demo", "small", 0, (math.nan,))])) == {}


def test_wide_bands_leave_the_lines_to_be_seen():
    runs = [training("llmr", "demo", "small", seed, (0.0, 2.0 * seed)) for seed in (0, 1)]
    (panel,) = by_name(study(runs=runs))["figure1"].panels
    assert panel.limits == pytest.approx((-1.2, 3.2))  # values go from 0 to 2, the band to 1 ± 12.7
    narrow = [training("llmr", "demo", "small", seed, (0.0, 2.0 + 0.01 * seed)) for seed in (0, 1)]
    (panel,) = by_name(study(runs=narrow))["figure1"].panels
    assert panel.limits == (None, None)


def test_figure_2_has_a_line_for_each_student_by_the_plans_name():
    variance = measured(students=("near", "far"))
    a, b = by_name(study(students=("near", "far"), variance=[variance]))["figure2"].panels
    assert [series.line.label for series in a.series] == ["far (KL 0.2)", "near (KL 0.1)"]
    assert [mark.y.value for mark in a.series[1].line.marks] == [8.0, 4.0, 2.0]
    assert [mark.y.value for mark in b.series[0].line.marks] == [0.0, 2.0, 4.0]
    assert (a.ticks, a.y_scale, b.y_scale, a.series[0].sources) == (
        (1, 2, 4),
        "log",
        "linear",
        ("variance-far-demo",),
    )


def test_figure_3_needs_several_students_and_takes_the_k_that_validates_best():
    assert "figure3" not in by_name(trained())
    panels = by_name(trained(("small", "large")))["figure3"].panels
    assert [panel.title for panel in panels] == ["demo: small", "demo: large"]
    assert [series.line.label for series in shown(panels[0])] == ["LLMR (llmr)", "K-step (k2)"]


def test_gradients_have_the_rows_that_point_best_and_all_in_bias_against_noise():
    cosines, points = by_name(study(variance=[measured(gradient=True)]))["gradient"].panels
    assert [series.line.label for series in cosines.series[:2]] == ["row0", "row1, mean"]
    assert (len(cosines.series), len(points.series)) == (7, 10)  # of the ten rows, seven have a colour
    assert [series.dull for series in points.series] == [False] * 7 + [True] * 3
    mark = points.series[1].line.marks[0]
    assert (mark.x, mark.across.high, mark.y.value) == (1.1, 3.0, 0.1)


def test_a_row_of_the_gradient_has_one_colour_for_all_students():
    variance = measured(students=("near", "far"), gradient=True)
    for row in variance["result"]["students"][0]["gradient"]["rows"]:  # far: the other way round, and steeper
        row["batch_cosine"]["256"]["value"] = 0.1 * int(row["estimator"].split("|")[0].removeprefix("row"))
    panels = by_name(study(students=("near", "far"), variance=[variance]))["gradient"].panels
    colours = [{series.line.label: series.colour for series in panel.series} for panel in panels]
    assert len(colours) == 4
    assert colours[0] == colours[2]
    assert colours[1] == colours[3]
    assert min(colours[0], key=colours[0].get) == "row9, mean"  # the best of the mean over both


def test_pictures_are_drawn_once_and_again_when_their_numbers_change(tmp_path):
    content = trained(variance=[measured(gradient=True)])
    content["runs"][0]["method"] = content["runs"][1]["method"] = content["plan"]["methods"][0] = HOSTILE
    paths = write_figures(study_figures(content), tmp_path)
    assert sorted(path.name for path in paths) == [
        *("figure1.pdf", "figure1.png", "figure2.pdf", "figure2.png", "gradient.pdf", "gradient.png"),
    ]
    assert all(path.stat().st_size > 1000 for path in paths)
    before = {path: path.stat().st_mtime_ns for path in paths}
    content["runs"][0]["curve"][0]["return"] = -6.0
    (tmp_path / "gradient.pdf").unlink()
    write_figures(study_figures(content), tmp_path)
    again = {path.name for path in paths if path.stat().st_mtime_ns != before[path]}
    assert again == {"figure1.png", "figure1.pdf", "gradient.png", "gradient.pdf"}


def test_a_study_without_numbers_has_no_figures(tmp_path):
    assert study_figures(study()) == []
    assert write_figures([], tmp_path) == []
    assert list(tmp_path.iterdir()) == []
