"""TTL after finished: jobs that say how long they stay when they are done."""
