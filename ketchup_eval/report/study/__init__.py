"""The report of a study: its tables and figures in the paper's shapes, and one page to look at."""
