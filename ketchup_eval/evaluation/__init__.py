"""Outputs of a system, decoded or given, their scores and statistics per segment."""
