"""The ``interlock`` command: ``python -m interlock`` does the same."""

from interlock.surfaces.cli.main import main

if __name__ == "__main__":
    main()
