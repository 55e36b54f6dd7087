"""The shell reader: what a command line would do, read as bash reads it."""

from interlock.reading.shell.read import read_shell

__all__ = ["read_shell"]
