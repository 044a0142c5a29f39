"""The store in an etcd cluster, version 3: for several servers of one cluster.

`config.EtcdConfig` says where etcd is, `store.EtcdStore` is the store: the only gRPC user beside
`pybernetes.kubelet.cri`, imported where it is asked for, since gRPC's import is felt in the start of a server without
etcd.
"""
