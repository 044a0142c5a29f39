"""Job: pods that run to their end, so many times, with so many failures allowed."""
