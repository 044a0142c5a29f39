"""The store in an etcd cluster, version 3: for several servers of one cluster.

`EtcdStore` is the store, `EtcdConfig` says where etcd is. The only gRPC user beside `pybernetes.kubelet.cri`.
"""

from pybernetes.store.etcd.config import SCHEMES, EtcdConfig, EtcdTLS, parse_url
from pybernetes.store.etcd.store import EtcdStore

__all__ = ["SCHEMES", "EtcdConfig", "EtcdStore", "EtcdTLS", "parse_url"]
