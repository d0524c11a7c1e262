"""Pairs of outputs compared by a language model, criterion by criterion."""
