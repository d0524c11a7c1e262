"""Rollouts: engines that draw tokens, and the calculator between them and the task."""
