"""The p8s command, and the one place that wires components together."""
