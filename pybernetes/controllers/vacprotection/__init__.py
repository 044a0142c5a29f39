"""Volume attributes class protection: a class that claims or volumes name does not go."""
