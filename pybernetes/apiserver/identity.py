"""What a new object gets: its uid and its time of creation. One event loop owns an instance.

Both are asked for at every creation, so randomness is taken from the kernel in blocks (a call each would let go of
the interpreter each time), and a second's text is made once.
"""

from __future__ import annotations

import os

from pybernetes.api.time import format_time
from pybernetes.lib.clock import Clock

_BLOCK_UIDS = 256


class Identities:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._block = ""
        self._at = 0
        self._second = -1
        self._text = ""

    def uid(self) -> str:
        """A random UUID (RFC 9562, version 4)."""
        at = self._at
        if at >= len(self._block):
            self._block = os.urandom(16 * _BLOCK_UIDS).hex()
            at = 0
        self._at = at + 32
        h = self._block[at : at + 32]
        variant = "89ab"[int(h[16], 16) & 3]
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{variant}{h[17:20]}-{h[20:]}"

    def now(self) -> str:
        """The time as the API writes it, to the second."""
        now = self._clock.now()
        if int(now) != self._second:
            self._second = int(now)
            self._text = format_time(now)
        return self._text
