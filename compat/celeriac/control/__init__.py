"""The client of remote control: `app.control`. Spec: control-and-events#1."""

from __future__ import annotations

from celeriac.control.control import Control, flatten_reply
from celeriac.control.inspect import Inspect

__all__ = ["Control", "Inspect", "flatten_reply"]
