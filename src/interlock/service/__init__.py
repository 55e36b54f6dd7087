"""The use-cases: what every surface (command line, API, library) may ask for. Nothing else is reachable from outside."""

from interlock.service.door import Service
from interlock.service.runs import RunView

__all__ = ["RunView", "Service"]
