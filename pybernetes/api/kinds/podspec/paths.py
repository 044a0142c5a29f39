"""Rules of file paths inside volumes: relative, and never upwards."""

from __future__ import annotations

from pybernetes.api.kinds.faults import Faults

FILE_MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"


def no_backsteps(path: str) -> bool:
    return ".." not in path or ".." not in path.split("/")


def backsteps(faults: Faults, at: str, path: str) -> None:
    if not no_backsteps(path):
        faults.invalid(at, path, "must not contain '..'")


def descending_path(faults: Faults, at: str, path: str) -> None:
    """Relative, without ``..``."""
    if path.startswith("/"):
        faults.invalid(at, path, "must be a relative path")
    backsteps(faults, at, path)


def local_path(faults: Faults, at: str, path: str) -> None:
    """As `descending_path`, and not beginning with two dots, which atomic writes keep for themselves."""
    descending_path(faults, at, path)
    if path.startswith("..") and not path.startswith("../"):
        faults.invalid(at, path, "must not start with '..'")


def file_mode(faults: Faults, at: str, mode: int | None) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        faults.invalid(at, mode, FILE_MODE_TEXT)
