"""Tokens from a file, read once at start: ``token,user,uid,"group1,group2"`` lines (upstream: --token-auth-file)."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

from pybernetes.api.user import User
from pybernetes.apiserver.authenticators.chain import Found, for_audiences


class TokenFileError(ValueError):
    """The file cannot be used; the message names the line, not the token."""


class StaticTokens:
    def __init__(self, users: Mapping[str, User], audiences: frozenset[str]) -> None:
        # By digest, so that how long a look-up takes tells nothing of the tokens.
        self._users = {hashlib.sha256(token.encode()).digest(): user for token, user in users.items()}
        self._audiences = audiences

    async def authenticate_token(self, token: str, audiences: frozenset[str]) -> Found | None:
        user = self._users.get(hashlib.sha256(token.encode()).digest())
        return for_audiences(user, self._audiences, audiences) if user is not None else None


def load(path: Path) -> dict[str, User]:
    """The users by their tokens. Raises `TokenFileError`, OSError."""
    users: dict[str, User] = {}
    try:
        rows = list(csv.reader(io.StringIO(path.read_text()), skipinitialspace=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise TokenFileError(f"{path} is no CSV: {error}") from error
    for number, row in enumerate(rows, 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3:
            raise TokenFileError(
                f"token file {path} must have at least 3 columns (token, user name, user uid), found {len(row)} in "
                f"line {number}"
            )
        token, name, uid = row[0], row[1], row[2]
        if not token:
            raise TokenFileError(f"empty token in line {number} of {path}")
        groups = tuple(row[3].split(",")) if len(row) > 3 and row[3] else ()
        users[token] = User(name, uid, groups)
    return users
