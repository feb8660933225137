"""Prompts: bundled, from a hub dataset or a text file, or sampled from the model itself."""
