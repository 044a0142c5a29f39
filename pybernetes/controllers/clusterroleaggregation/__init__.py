"""ClusterRole aggregation: roles that are the sum of others, picked by label."""
