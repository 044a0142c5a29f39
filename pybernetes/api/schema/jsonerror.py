"""Says what is wrong with malformed JSON in the words of Go's ``encoding/json`` scanner. Runs only on bad input."""

from __future__ import annotations

_SPACE = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_ESCAPES = b'bfnrt\\/"'
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_END = "unexpected end of JSON input"


class _Malformed(Exception):
    pass


def _quote(byte: int) -> str:
    """A byte as Go's messages show it."""
    if byte == ord("'"):
        return r"'\''"
    named = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r", 92: r"\\"}
    if byte in named:
        return f"'{named[byte]}'"
    if byte < 0x20 or byte == 0x7F or 0x80 <= byte < 0xA0:
        return f"'\\x{byte:02x}'" if byte < 0x80 else f"'\\u{byte:04x}'"
    return f"'{chr(byte)}'"


class _Scanner:
    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def peek(self) -> int:
        if self.at >= len(self.body):
            raise _Malformed(_END)
        return self.body[self.at]

    def fail(self, context: str) -> _Malformed:
        return _Malformed(f"invalid character {_quote(self.peek())} {context}")

    def space(self) -> None:
        while self.at < len(self.body) and self.body[self.at] in _SPACE:
            self.at += 1

    def document(self) -> None:
        """Walks containers with a stack of its own, so that depth is no danger."""
        stack: list[int] = []
        expect = "value"
        while True:
            self.space()
            if expect == "end":
                if self.at < len(self.body):
                    raise self.fail("after top-level value")
                return
            byte = self.peek()
            if expect in ("key", "key or close"):
                if byte == ord("}") and expect == "key or close":
                    stack.pop()
                    self.at += 1
                elif byte != ord('"'):
                    raise self.fail("looking for beginning of object key string")
                else:
                    self.string()
                    self.space()
                    if self.peek() != ord(":"):
                        raise self.fail("after object key")
                    self.at += 1
                    expect = "value"
                    continue
            elif expect == "more":
                if byte == ord(","):
                    self.at += 1
                    expect = "key" if stack[-1] == ord("{") else "value"
                    continue
                if byte != (ord("}") if stack[-1] == ord("{") else ord("]")):
                    raise self.fail("after object key:value pair" if stack[-1] == ord("{") else "after array element")
                stack.pop()
                self.at += 1
            elif byte in b"{[":
                stack.append(byte)
                self.at += 1
                expect = "key or close" if byte == ord("{") else "value or close"
                continue
            elif byte == ord("]") and expect == "value or close":
                stack.pop()
                self.at += 1
            else:
                self.scalar(byte)
            expect = "more" if stack else "end"

    def scalar(self, byte: int) -> None:
        if byte == ord('"'):
            self.string()
        elif byte in _LITERALS:
            word = _LITERALS[byte]
            for i, letter in enumerate(word):
                if self.peek() != letter:
                    raise self.fail(f"in literal {word.decode()} (expecting {_quote(word[i])})")
                self.at += 1
        elif byte == ord("-") or byte in _DIGITS:
            self.number()
        else:
            raise self.fail("looking for beginning of value")

    def string(self) -> None:
        self.at += 1
        while (byte := self.peek()) != ord('"'):
            if byte < 0x20:
                raise self.fail("in string literal")
            self.at += 1
            if byte != ord("\\"):
                continue
            byte = self.peek()
            if byte == ord("u"):
                for _ in range(4):
                    self.at += 1
                    if self.peek() not in _HEX:
                        raise self.fail("in \\u hexadecimal character escape")
            elif byte not in _ESCAPES:
                raise self.fail("in string escape code")
            self.at += 1
        self.at += 1

    def digits(self, context: str) -> None:
        if self.peek() not in _DIGITS:
            raise self.fail(context)
        while self.at < len(self.body) and self.body[self.at] in _DIGITS:
            self.at += 1

    def number(self) -> None:
        if self.peek() == ord("-"):
            self.at += 1
        if self.at < len(self.body) and self.body[self.at] == ord("0"):
            self.at += 1
        else:
            self.digits("in numeric literal")
        if self.at < len(self.body) and self.body[self.at] == ord("."):
            self.at += 1
            self.digits("after decimal point in numeric literal")
        if self.at < len(self.body) and self.body[self.at] in b"eE":
            self.at += 1
            if self.peek() in b"+-":
                self.at += 1
            self.digits("in exponent of numeric literal")


def describe(body: bytes) -> str:
    """The message of the first fault; empty where the text is well-formed JSON."""
    try:
        _Scanner(body).document()
    except _Malformed as e:
        return str(e)
    return ""
