"""StatefulSet: pods with names, storage and an order."""
