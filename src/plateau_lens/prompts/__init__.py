"""Prompts: bundled, from a text file, or sampled from the model itself."""
