"""The robustness suite: recorded histories of concurrent clients under faults, held against a model.

`traffic` does requests and records them (`history`), `faults` breaks things meanwhile (`processes`, `disks`),
`validate` holds the history against the `model`, `report` keeps and explains what failed, `campaign` puts them
together. ``python -m tests.robustness run`` and ``check`` are the same by hand. See docs/robustness.md.
"""
