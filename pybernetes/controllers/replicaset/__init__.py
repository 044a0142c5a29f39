"""ReplicaSet and ReplicationController: as many pods as asked for."""
