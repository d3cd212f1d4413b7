#!/usr/bin/env python3
"""Shows some of the vectors that `lexpeak encode --tokens` wrote, each beside its text.

Usage: show_strongest.py TEXTS.jsonl VECTORS.jsonl ID...
"""

import json
import sys
import textwrap

TERMS = 12
COLUMNS = 4


def main(texts_path, vectors_path, *ids):
    texts, vectors = by_id(texts_path), by_id(vectors_path)
    for id in ids:
        print()
        print(textwrap.fill(texts[id]["text"], width=100))
        row = vectors[id]
        strongest = sorted(zip(row["values"], row["tokens"]), reverse=True)[:TERMS]
        rows = -(-len(strongest) // COLUMNS)
        for line in range(rows):
            cells = (f"{weight:8.4f}  {token:<14}" for weight, token in strongest[line::rows])
            print("".join(cells).rstrip())
        print(f"  ({len(row['values'])} terms in all)")
    print()


def by_id(path):
    with open(path, encoding="utf-8") as lines:
        return {row["id"]: row for row in map(json.loads, lines)}


if __name__ == "__main__":
    main(*sys.argv[1:])
