"""Runs while they are being made: the runner that waits on models, the scheduler, the journal."""
