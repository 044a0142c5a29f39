"""A cluster on this machine: PKI, namespaces, processes, kubeconfig."""
