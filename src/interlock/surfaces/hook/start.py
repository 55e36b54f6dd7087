"""The program that hooks run: ``python -I -S start.py --as claude``. Quicker to start than ``interlock hook``, the same."""

import os
import sys

_ROOT = os.path.abspath(f"{__file__}/../../..")  # noqa: PTH100 - start-up time: pathlib is not needed for anything else
_PACKAGE = type(sys)("interlock")
_PACKAGE.__path__ = [_ROOT]
sys.modules["interlock"] = _PACKAGE  # the package itself without its public names: those cost a quarter of the time

from interlock.surfaces.hook.client import main  # noqa: E402 - found by what stands above

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
