"""Everything that a variance study leaves in its run beside the rollouts."""

from pathlib import Path

from ketchup_eval.report.theory_figure import write_theory_figure
from ketchup_eval.report.variance_figure import write_variance_figure
from ketchup_eval.variance.files import write_files
from ketchup_eval.variance.result import VarianceResult


def write_variance(result: VarianceResult, run: Path) -> None:
    """Writes `variance.json` and `.csv`, then the figures as `.png` and `.pdf`."""
    write_files(result, run)
    write_variance_figure(result, run)
    write_theory_figure(result, run)
    if result.analysis.gradient:
        from ketchup_eval.report.gradient_figure import write_gradient_figure

        write_gradient_figure(result, run)
