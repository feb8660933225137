"""Configuration, plan, workers and the run folder."""
