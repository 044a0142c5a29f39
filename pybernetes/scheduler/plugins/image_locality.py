"""ImageLocality: prefers nodes that have the pod's images already, large ones and widely spread ones more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pybernetes.scheduler.framework import MAX_NODE_SCORE, Change, Cycle, Scores

_MIB = 1024 * 1024
_LEAST_BYTES = 23 * _MIB
_MOST_BYTES_PER_CONTAINER = 1000 * _MIB


class ImageLocality:
    name = "ImageLocality"
    events = Change(0)
    weight = 1.0

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        spec, table = cycle.pod["spec"], cycle.table
        containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
        nodes = max(len(table), 1)
        raw = np.zeros(len(candidates))
        for container in containers:
            names = _names(container.get("image") or "")
            sizes = np.fromiter(
                (
                    max((row.images.get(n, 0) for n in names), default=0) if (row := table.rows[i]) is not None else 0
                    for i in candidates
                ),
                dtype=float,
            )
            raw += sizes * (np.count_nonzero(sizes) / nodes)
        if not raw.any():
            return None
        most = _MOST_BYTES_PER_CONTAINER * len(containers)
        clamped = np.clip(raw, _LEAST_BYTES, most)
        return np.asarray(np.floor(MAX_NODE_SCORE * (clamped - _LEAST_BYTES) / (most - _LEAST_BYTES)))


def _names(image: str) -> tuple[str, ...]:
    """The names under which a node may list the image: as written, and with the tag that is meant."""
    last = image.rsplit("/", 1)[-1]
    tagged = image if ":" in last or "@" in last else f"{image}:latest"
    first = tagged.split("/", 1)[0]
    if "/" not in tagged:
        return image, tagged, f"docker.io/library/{tagged}"
    if "." not in first and ":" not in first and first != "localhost":
        return image, tagged, f"docker.io/{tagged}"
    return image, tagged
