"""The p8s command; the one place that wires components together. Each subcommand imports what it needs, no more."""
