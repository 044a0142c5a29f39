"""What each kind adds to the generic object: defaults, validation, preparation, selectable fields.

`strategy_for` finds a resource's `Strategy`; a kind with nothing of its own gets the generic one.
"""
