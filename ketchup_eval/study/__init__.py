"""A study: one plan file, the graph of ordinary commands that it stands for, and what became of them."""
