"""How fast the engine is: against other ways to the same curves, and against the machine's own limit."""
