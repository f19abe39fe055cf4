"""Which calls a run will make, found by playing its flow with made-up drafts."""
