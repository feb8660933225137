"""Experiments: one file an experiment, and the registry they join."""
