"""Checking node parameters. Pure."""

from __future__ import annotations

from ganeti.base.errors import Code, PrereqError
from ganeti.model import parameters, params
from ganeti.model.objects import Params


def node_overrides(values: Params) -> Params:
    """Node parameters as typed, converted; "default" removes an override. `PrereqError` for those of whole groups."""
    wrong = sorted(set(values) & parameters.NODE_GLOBALS)
    if wrong:
        raise PrereqError(f"node parameters {', '.join(wrong)} cannot be set for a single node", Code.INVAL)
    return params.coerce(parameters.NODE, values, "node", allow_default=True)
