"""Training: the trainer, its step, batches, schedules, records and callbacks."""
