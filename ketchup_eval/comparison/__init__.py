"""Systems side by side: paired tests, and whether return and quality go together."""
