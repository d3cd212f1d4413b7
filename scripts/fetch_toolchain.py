#!/usr/bin/env python3
"""Puts the CUDA 13.0 compiler into .cuda/, or does nothing if it is there: .cuda/nvidia/cu13/bin/nvcc.

    fetch_toolchain.py                 fetch it (`make toolchain`)
    fetch_toolchain.py --unless-found  fetch it if no usable nvcc is found (`make test`)
    fetch_toolchain.py --for-gpu       the same, but only where an NVIDIA driver answers; if that fails, say so
                                       and leave it at that, because the CPU engine needs no nvcc (`make demo`)
    fetch_toolchain.py --find          print the nvcc that a build takes; fail if there is none

The wheels and their SHA-256 are in cuda-requirements.txt: 109 MB to download, 277 MB unpacked. They are
NVIDIA's, under NVIDIA's licence, and are not part of this repository.

Needs Python 3.8, its pip (or ensurepip), a network, and Linux on x86-64 or aarch64.
"""

import argparse
import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from find_pip import Failure, find_pip

PROJECT = Path(__file__).resolve().parent.parent
REQUIREMENTS = Path(__file__).resolve().parent / "cuda-requirements.txt"
NVCC_IN_WHEELS = "nvidia/cu13/bin/nvcc"
OLDEST_RELEASE = (12, 8)


def main():
    parser = argparse.ArgumentParser(description="Fetch the CUDA compiler into .cuda/.")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--unless-found", action="store_true", help="only if no usable nvcc is found")
    when.add_argument("--for-gpu", action="store_true", help="only if there is a GPU for it as well")
    when.add_argument("--find", action="store_true", help="print which nvcc a build takes")
    parser.add_argument("--project", type=Path, default=PROJECT, help="the folder that holds .cuda/")
    parser.add_argument(
        "--system", type=Path, default=Path("/usr/local/cuda"), help="where CUDA is installed system-wide"
    )
    options = parser.parse_args()

    if options.find:
        nvcc = find_nvcc(os.environ, options.project, options.system)
        if nvcc is None:
            raise Failure("no usable nvcc; `make toolchain` fetches one")
        print(nvcc)
    elif options.unless_found:
        if find_nvcc(os.environ, options.project, options.system) is None:
            fetch(options.project)
    elif options.for_gpu:
        if has_gpu() and find_nvcc(os.environ, options.project, options.system) is None:
            try:
                fetch(options.project)
            except (Failure, OSError) as failure:
                print(f"fetch_toolchain: {failure}\nGoing on without CUDA: the CPU engine computes.")
    else:
        fetch(options.project)


def find_nvcc(environment, project, system):
    """The nvcc that a build takes, or None. build/src/toolchain.rs has the same rules, and a test that the two agree.

    The first usable one of: $NVCC (a path, or a name to look up in PATH), $CUDA_HOME/bin/nvcc, .cuda/ of the
    project, the system's CUDA, and every folder of PATH. Empty variables count as unset. Usable: it runs, and
    says that it is release 12.8 or newer, the first that compiles for every architecture of the kernels.
    """
    path = [Path(folder) for folder in environment.get("PATH", "").split(":") if folder]
    places = []
    if named := environment.get("NVCC"):
        places += [Path(named)] if "/" in named else [folder / named for folder in path]
    if home := environment.get("CUDA_HOME"):
        places.append(Path(home) / "bin" / "nvcc")
    places += [project / ".cuda" / NVCC_IN_WHEELS, system / "bin" / "nvcc"]
    places += [folder / "nvcc" for folder in path]
    return next((nvcc for nvcc in places if is_usable(nvcc)), None)


def is_usable(nvcc):
    if not nvcc.is_file():
        return False
    command = [str(nvcc.absolute()), "--version"]
    try:
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return False
    release = re.search(rb"release (\d+)\.(\d+)", run.stdout)
    return (
        run.returncode == 0
        and release is not None
        and tuple(map(int, release.groups())) >= OLDEST_RELEASE
    )


def has_gpu():
    """Whether an NVIDIA driver answers and has a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def fetch(project):
    """Makes `project`/.cuda whole: what an interrupted run leaves is never taken for it."""
    toolchain = project / ".cuda"
    # One run at a time; the lock goes with the process, however it ends.
    with open(REQUIREMENTS, "rb") as requirements:
        fcntl.flock(requirements, fcntl.LOCK_EX)
        pins = hashlib.sha256(requirements.read()).hexdigest()
        if is_complete(toolchain, pins):
            print(f"{toolchain}: already there")
            return
        # Beside the toolchain, so that a rename can put the finished folder in its place at once.
        unfinished = project / ".cuda-unfinished"
        remove(unfinished)
        unfinished.mkdir(parents=True)
        try:
            fresh = unfinished / "cuda"
            install(unfinished, fresh)
            (fresh / "pins").write_text(pins)
            if toolchain.exists():
                os.rename(toolchain, unfinished / "replaced")
            os.rename(fresh, toolchain)
        finally:
            remove(unfinished)
    print(f"{toolchain}: CUDA compiler installed, checksums right")


def is_complete(toolchain, pins):
    """`pins` is the hash of the requirements: other pins are another toolchain."""
    stamp = toolchain / "pins"
    return stamp.is_file() and stamp.read_text() == pins and is_usable(toolchain / NVCC_IN_WHEELS)


def remove(folder):
    if folder.exists():
        shutil.rmtree(folder)


def install(scratch, folder):
    print("Fetching the CUDA compiler (109 MB) ...", flush=True)
    command = [*find_pip(scratch), "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    # One call: a second one with the same --target would drop files of folders that the wheels share.
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"]
    command += ["--target", str(folder), "--requirement", str(REQUIREMENTS)]
    # A user's habit of installing for themselves contradicts --target.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_USER"}
    pip = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment, check=False)
    if pip.returncode != 0:
        raise Failure(
            "pip could not install the CUDA compiler; check the network and pip's index settings, or install "
            "CUDA 12.8 or newer and set CUDA_HOME, or copy .cuda/ from a machine where this script has run"
        )
    if not is_usable(folder / NVCC_IN_WHEELS):
        raise Failure("the installed nvcc does not run; see that the disk is sound and try again")


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit(f"fetch_toolchain: {failure}")
