"""Sparse autoencoders as dictionaries of latents, and which latents are alike."""
