"""Reinforcement-learning knowledge distillation of language models: the method and its training."""

__version__ = "0.1.0"
