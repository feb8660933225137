"""Drawings of a report: one file a figure."""
