"""Analysis on top of `ketchup`: bias and variance, metrics, judge, report and the command line."""
