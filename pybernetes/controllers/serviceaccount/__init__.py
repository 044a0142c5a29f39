"""Service accounts: the ``default`` one in every namespace."""
