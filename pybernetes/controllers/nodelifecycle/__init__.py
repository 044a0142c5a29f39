"""Node lifecycle: notices nodes that fell silent, and keeps them free of work by taints."""
