"""What clients are told of a store that failed."""

from __future__ import annotations

import structlog

from pybernetes.api import errors
from pybernetes.store.interface import StoreClosed, StoreError, StoreFull

log = structlog.get_logger(__name__)


def api_error(error: StoreError) -> errors.ApiError:
    """The API's error for a store's. Nothing is known to be written."""
    if isinstance(error, StoreClosed):
        return errors.ServiceUnavailable("the server is shutting down", details={"retryAfterSeconds": 1})
    log.error("store failed", error=str(error))
    if isinstance(error, StoreFull):
        return errors.InternalError("Internal error occurred: the disk of the server's store is full")
    return errors.InternalError("Internal error occurred: the store failed")
