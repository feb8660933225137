"""Step statistics: one file a statistic, and the registry they join."""
