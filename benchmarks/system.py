"""What the system says: whether it is idle, and how much memory this process has used.

Nothing but the standard library is imported here, so that scripts which run in another environment can import it too.
"""

import os
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path

IDLE = 0.5
"""The highest load, averaged over a minute, of a machine that is called idle."""
STATUS = Path("/proc/self/status")


def require_idle(busy: bool) -> float:
    """Return the load of the last minute; end the program if the machine is not idle, unless `busy` allows that."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # Windows does not tell
    if load > IDLE and not busy:
        found = f"The load of the last minute is {load:.2f}, and of an idle machine at most {IDLE}"
        sys.exit(
            f"{found}. Wait until nothing else runs, or pass --busy to measure anyway and to have that written down."
        )
    return round(load, 2)


def typed() -> str:
    """Return the command that runs this program, with `PATH` for absolute paths, which mean nothing elsewhere."""
    words = [re.sub(r"(^|=)(/|[A-Z]:).*", r"\1PATH", word) for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def peak_mb() -> float:
    """Return the most memory that this process has used at once, in MB.

    Linux hands the peak that `getrusage` reports from a process to the one it starts, which would then never have less
    than its parent. `VmHWM` is the process's own.
    """
    if STATUS.is_file():
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource  # Windows has none

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def reset_peak() -> float:
    """Forget the peak so far where the system can do that, and return what `peak_mb` says from now on."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return peak_mb()
