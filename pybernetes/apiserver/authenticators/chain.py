"""The chain of token authenticators: the first that knows a token says whose it is.

`TokenChain.authenticate` is asked for requests and for TokenReviews alike. An authenticator that does not know a token
answers None, one that knows it and refuses it raises `InvalidToken`; the others are asked all the same, as upstream's
union does. Whoever is found is in system:authenticated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pybernetes.api.user import AUTHENTICATED, UNAUTHENTICATED, User

Found = tuple[User, tuple[str, ...]]
"""Whose a token is, and those of the audiences asked for that it is for."""


class InvalidToken(Exception):
    """The token does not hold; the message is for logs and TokenReview, and repeats nothing of the token."""


class TokenAuthenticator(Protocol):
    async def authenticate_token(self, token: str, audiences: frozenset[str]) -> Found | None:
        """Whose the token is, for at least one of `audiences`; None where this authenticator does not know it.
        Raises `InvalidToken`."""
        ...


class TokenChain:
    """`audiences` are the API server's own."""

    def __init__(self, authenticators: Sequence[TokenAuthenticator], audiences: Sequence[str]) -> None:
        self._authenticators = tuple(authenticators)
        self._audiences = frozenset(audiences)

    async def authenticate(self, token: str, audiences: frozenset[str] | None = None) -> Found:
        """Raises `InvalidToken` where nobody knows the token, or somebody refuses it and nobody else takes it."""
        faults: list[str] = []
        wanted = self._audiences if audiences is None else audiences
        for authenticator in self._authenticators:
            try:
                found = await authenticator.authenticate_token(token, wanted)
            except InvalidToken as error:
                faults.append(str(error))
                continue
            if found is not None:
                return with_membership(found[0]), found[1]
        raise InvalidToken(f"[{', '.join(['invalid bearer token', *faults])}]" if faults else "invalid bearer token")


def with_membership(user: User) -> User:
    """The user in system:authenticated, unless its groups say themselves what it is."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return User(user.name, user.uid, (*user.groups, AUTHENTICATED), user.extra)


def for_audiences(user: User, own: frozenset[str], wanted: frozenset[str]) -> Found | None:
    """What an authenticator that knows no audiences says: its tokens are for the API server's own."""
    matching = own & wanted
    return (user, tuple(sorted(matching))) if matching else None
