"""Build hook: writes the compact API schema into the package, for wheels and editable installs alike."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The package itself cannot be imported: a build environment lacks its dependencies.
_RESOURCES = "pybernetes/api/resources.py"
_DEFINITIONS = "pybernetes/api/schema/definitions.py"
_TARGET = "pybernetes/api/schema/data"


def _load(path: Path) -> ModuleType:
    name = f"_hatch_build_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class SchemaBuildHook(BuildHookInterface):
    """Runs `definitions.build` before hatchling collects the files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        definitions = _load(root / _DEFINITIONS)
        resources = _load(root / _RESOURCES)
        definitions.build(root / _TARGET / definitions.FILE_NAME, resources.BUILTIN)
