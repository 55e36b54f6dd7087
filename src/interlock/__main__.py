"""The ``interlock`` command: ``python -m interlock`` does the same."""

import gc
import sys

_PARTS = ("serve", "install", "uninstall", "-h", "--help")


def main() -> None:
    """Run the command line. The hook itself comes first and alone: it has milliseconds, not the command line's half second."""
    if sys.argv[1:2] == ["hook"] and not set(sys.argv[2:3]) & set(_PARTS):
        from interlock.surfaces.hook.client import main as hook  # noqa: PLC0415 - see above

        sys.exit(hook(sys.argv[2:]))
    gc.set_threshold(50_000, 20, 100)  # what is imported lives for ever: looking through it often costs a tenth
    from interlock.surfaces.cli.main import main as cli  # noqa: PLC0415 - the same

    cli()


if __name__ == "__main__":
    main()
