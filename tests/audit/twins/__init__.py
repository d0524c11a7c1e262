"""Pairs of functions as people write them: in each file `wrong` has one fault, and `right` has none."""
