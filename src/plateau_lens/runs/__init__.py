"""Runs: what is asked for, and the folder it leaves; beneath both experiments and report."""
