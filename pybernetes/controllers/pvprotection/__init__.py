"""Volume protection: a PersistentVolume that is bound does not go."""
