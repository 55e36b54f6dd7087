"""The ``interlock`` command: ``python -m interlock`` does the same."""

import gc
import os
import sys

_PARTS = ("serve", "install", "uninstall", "-h", "--help")


def main() -> None:
    """Run the command line. The hook itself comes first and alone: it has milliseconds, not the command line's half second."""
    if sys.argv[1:2] == ["hook"] and not set(sys.argv[2:3]) & set(_PARTS):
        from interlock.surfaces.hook.client import main as hook  # noqa: PLC0415 - see above

        sys.exit(hook(sys.argv[2:]))
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for some takes 20 ms, and there are none
    gc.set_threshold(50_000, 20, 100)  # what is imported lives for ever: looking through it often costs a tenth
    from interlock.surfaces.cli.main import main as cli  # noqa: PLC0415 - the same

    cli()


if __name__ == "__main__":
    main()
