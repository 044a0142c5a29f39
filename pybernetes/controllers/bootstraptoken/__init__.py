"""Bootstrap tokens: deletes those that have expired, and signs ``kube-public/cluster-info`` with those that may."""
