"""`elasticnas`, whose worker is killed by one subnet: the process dies as from a fault in a kernel,
or it hangs for ever.

Also run as the main module of the process that measures a subnet apart.
"""

from __future__ import annotations

import faulthandler
import json
import os
import time

from elasticnas.supernet.measuring import measure

POISON = json.loads(os.environ["POISON"])
"""The choices of the subnet that kills, where they are not the largest."""
real_activate = measure.activate


def activate(supernet, subnet, *splice):
    maximal = supernet.space.maximal
    if {name: choice for name, choice in subnet.items() if choice != maximal[name]} == POISON:
        if "POISON_HANGS" in os.environ:
            time.sleep(10**9)
        faulthandler._sigsegv()
    return real_activate(supernet, subnet, *splice)


measure.activate = activate

if __name__ == "__main__":
    from elasticnas.cli.main import run

    run()
