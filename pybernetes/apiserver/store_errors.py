"""What clients are told of a store that failed."""

from __future__ import annotations

import structlog

from pybernetes.api import errors
from pybernetes.store.interface import OutcomeUnknown, StoreClosed, StoreError, StoreFull, StoreUnavailable

log = structlog.get_logger(__name__)


def api_error(error: StoreError) -> errors.ApiError:
    """The API's error for a store's. Nothing is known to be written.

    An unknown outcome carries no Retry-After: clients repeat such requests by themselves, and a repeated creation
    would then be told of its own object.
    """
    if isinstance(error, StoreClosed):
        return errors.ServiceUnavailable("the server is shutting down", details={"retryAfterSeconds": 1})
    log.error("store failed", error=str(error))
    if isinstance(error, OutcomeUnknown):
        return errors.GatewayTimeout("the store did not answer in time; the request may or may not have taken effect")
    if isinstance(error, StoreUnavailable):
        return errors.ServiceUnavailable("the store cannot be reached", details={"retryAfterSeconds": 1})
    if isinstance(error, StoreFull):
        return errors.InternalError("Internal error occurred: the disk of the server's store is full")
    return errors.InternalError("Internal error occurred: the store failed")
