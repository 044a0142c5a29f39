"""A revisioned key-value store in etcd's terms. Knows no kinds."""
