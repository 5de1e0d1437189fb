"""Long work: what a job is to its handler, the loop that runs jobs, the model servers they use."""
