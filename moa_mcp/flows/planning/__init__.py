"""What a run will call, found out by playing its flow with made-up drafts."""
