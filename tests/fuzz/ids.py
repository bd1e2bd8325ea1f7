"""Hooks of schemathesis: some of a path's made-up ids become ones that there are, or few requests would get far."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import schemathesis

_ids = cast("dict[str, str]", json.loads(Path(os.environ["CODER_FUZZ_IDS"]).read_text()))


def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Two of three; never where a session would end that the other requests are about."""
    operation = context.operation
    if not path_parameters:
        return path_parameters
    known = _ids.get(str(operation.path).split("/")[2])
    is_end = operation.method == "delete" and str(operation.path).count("/") == 3
    if known is None or is_end or len(str(path_parameters.get("id", ""))) % 3 == 0:
        return path_parameters
    return {**path_parameters, "id": known} | ({"agent": "demo"} if "agent" in path_parameters else {})


cast("Callable[[object], object]", vars(schemathesis)["hook"])(map_path_parameters)
