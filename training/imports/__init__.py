"""Training data from files in the shapes of other programs: read, understood, stored."""
