"""Sections of a report: one file a section, and the registry they join."""
