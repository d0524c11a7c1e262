"""Training: the one loop, its checkpoints and where demonstrations come from."""
