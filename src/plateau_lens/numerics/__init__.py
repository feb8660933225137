"""Schedules, step statistics and summaries: numpy and scipy only, no model in sight."""
