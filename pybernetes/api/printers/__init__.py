"""Server-side printing: objects as rows of a Table, as ``kubectl get`` shows them. Pure; the clock is passed in."""

from pybernetes.api.printers.table import IncludeObject, cells, columns, table, wrap
from pybernetes.api.printers.values import human_duration

__all__ = ["IncludeObject", "cells", "columns", "human_duration", "table", "wrap"]
