"""pip, for the scripts that fetch what this repository does not hold."""

import subprocess
import sys


class Failure(Exception):
    """What went wrong and what to do about it, in a sentence."""


def find_pip(scratch):
    """The command for this Python's pip, or for one in a throw-away environment in the folder `scratch`."""
    pip = [sys.executable, "-m", "pip"]
    if succeeds([*pip, "--version"]):
        return pip
    environment = scratch / "environment"
    if succeeds([sys.executable, "-m", "venv", str(environment)]):
        return [str(environment / "bin" / "python"), "-m", "pip"]
    raise Failure(
        f"{sys.executable} has neither pip nor ensurepip; install pip (on Debian and Ubuntu: "
        "apt-get install python3-pip) and run this again"
    )


def succeeds(command):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False, **quiet).returncode == 0
