"""The ConfigMap ``kube-root-ca.crt`` as it must be. Pure."""

from __future__ import annotations

from pybernetes.api.meta import Object, annotations_of, metadata, name_of
from pybernetes.controllers.serviceaccount.plan import is_active

NAME = "kube-root-ca.crt"
DESCRIPTION_ANNOTATION = "kubernetes.io/description"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def plan(namespace: Object | None, current: Object | None, root_ca_pem: str) -> Object | None:
    """The object to write, None where all is well. Without `current` it is to be created."""
    if namespace is None or not is_active(namespace):
        return None
    data = {"ca.crt": root_ca_pem}
    if current is None:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": NAME,
                "namespace": name_of(namespace),
                "annotations": {DESCRIPTION_ANNOTATION: DESCRIPTION},
            },
            "data": data,
        }
    if current.get("data") == data and annotations_of(current).get(DESCRIPTION_ANNOTATION) == DESCRIPTION:
        return None
    meta = {**metadata(current), "annotations": {**annotations_of(current), DESCRIPTION_ANNOTATION: DESCRIPTION}}
    return {**current, "metadata": meta, "data": data}
