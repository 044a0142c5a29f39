"""CronJob: Jobs by the clock."""
