"""A shared store belongs to one cluster, and its servers share that cluster's keys: checked at each start.

The first server notes the fingerprints of its CA and of its service-account key; a later one that has others is
refused, before it issues certificates and tokens that the rest of the cluster does not know.
"""

from __future__ import annotations

import hashlib

import orjson

from pybernetes.apiserver.pki import ClusterPKI, PKIError
from pybernetes.store.interface import Compare, Put, Store

KEY = "/p8s/cluster"


async def claim(store: Store, pki: ClusterPKI) -> None:
    """Raises `PKIError` where the store is another cluster's, StoreError."""
    ours = {
        "caSHA256": hashlib.sha256(pki.ca_pem).hexdigest(),
        "serviceAccountKeySHA256": hashlib.sha256((pki.directory / "sa.pub").read_bytes()).hexdigest(),
    }
    result = await store.txn([Compare(KEY, 0)], [Put(KEY, orjson.dumps(ours))])
    if result.succeeded:
        return
    noted = result.current[0]
    assert noted is not None
    if orjson.loads(noted.value) != ours:
        raise PKIError(
            f"the datastore belongs to a cluster with other keys than those in {pki.directory}: copy ca.crt, ca.key, "
            f"sa.key and sa.pub from the pki directory of a server of that cluster, or use another datastore prefix"
        )
