"""Execution: a run as a plan of work units, and what computes them."""
