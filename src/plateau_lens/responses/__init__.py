"""Responses: one file a response, and the registry they join."""
