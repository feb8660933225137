"""Activation kinds: one file a kind, and the registry they join."""
