"""Running runs: the runner that calls the models, the scheduler and the journal."""
