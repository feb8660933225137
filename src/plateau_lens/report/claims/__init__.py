"""Claims: what a sentence says, taken apart into numbers of a run that are above 0 where it is right."""
