"""Statistics of evaluation: intervals, paired tests and multiplicity; numpy and scipy only, no torch."""
