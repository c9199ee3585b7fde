"""Remote control of a worker: one function per command. Applications add theirs with the same decorators.

Spec: control-and-events#1
"""

from __future__ import annotations

from celeriac.worker.remote import control, inspection, memory, revoking
from celeriac.worker.remote.registry import Panel, control_command, inspect_command

__all__ = [
    "Panel",
    "control",
    "control_command",
    "inspect_command",
    "inspection",
    "memory",
    "revoking",
]
