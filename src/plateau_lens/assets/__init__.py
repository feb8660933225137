"""Bundled prompts and the bundled sparse autoencoder (see the README in each folder)."""
