"""Does lexpeak find what the original finds? nDCG@10 of both over a public test collection.

    pip install sentence-transformers scipy
    cargo build --release
    python scripts/retrieval_quality.py path/to/scifact

The collection is a folder as the BEIR benchmark hands them out (https://github.com/beir-cellar/beir
lists them; scifact and nfcorpus are small):

    corpus.jsonl     {"_id": ..., "title": ..., "text": ...}
    queries.jsonl    {"_id": ..., "text": ...}
    qrels/test.tsv   query-id <tab> corpus-id <tab> score, after a line of headings

The original is sentence-transformers in float32. The exit status is 1 if the two differ in the
third digit after the point.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sentence_transformers import SparseEncoder

ROOT = Path(__file__).resolve().parent.parent
DEPTH = 10


def read_texts(path):
    """Ids and texts; a title stands in front of its text, as lexpeak puts it."""
    ids, texts = [], []
    with open(path, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            ids.append(record["_id"])
            texts.append(" ".join(part for part in (record.get("title"), record["text"]) if part))
    return ids, texts


def read_judgements(path):
    """query id -> {document id: relevance}, for the queries with something to find."""
    judgements = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0:
                judgements.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    return judgements


def encode_with_lexpeak(command, ids, texts, vocabulary_size):
    """One row a text, through the command line: what a user of lexpeak gets."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for id, text in zip(ids, texts):
            file.write(json.dumps({"id": id, "text": text}) + "\n")
        file.flush()
        command = [*command, "--input", file.name, "--output", "-"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["id"] for row in rows] == ids, "lexpeak keeps the order of its input"
    starts = np.cumsum([0] + [len(row["indices"]) for row in rows])
    indices = np.concatenate([np.array(row["indices"], dtype=np.int64) for row in rows])
    values = np.concatenate([np.array(row["values"], dtype=np.float64) for row in rows])
    return csr_array((values, indices, starts), shape=(len(rows), vocabulary_size))


def encode_with_pytorch(encode, texts):
    """One row a text; `encode` is the method for queries or for documents."""
    tensor = encode(texts, convert_to_sparse_tensor=True, show_progress_bar=sys.stderr.isatty()).coalesce()
    rows, columns = tensor.indices().numpy()
    values = tensor.values().numpy().astype(np.float64)
    return csr_array((values, (rows, columns)), shape=tensor.shape)


def ndcg(queries, documents, query_ids, document_ids, judgements):
    """Mean nDCG@10, gains as they stand in the judgements (the measure of BEIR and trec_eval)."""
    scores = (queries @ documents.T).toarray()
    means = []
    for query_id, row in zip(query_ids, scores):
        if query_id not in judgements:
            continue
        relevant = judgements[query_id]
        # A stable sort: ties fall to the document that comes first, in both systems alike.
        found = [document_ids[i] for i in np.argsort(-row, kind="stable")[:DEPTH]]
        gained = discounted([relevant.get(id, 0) for id in found])
        means.append(gained / discounted(sorted(relevant.values(), reverse=True)[:DEPTH]))
    return sum(means) / len(means)


def discounted(gains):
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("collection", type=Path)
    arguments.add_argument("--model", default=str(ROOT / "models" / "splade-tiny"))
    arguments.add_argument("--lexpeak", default=str(ROOT / "target" / "release" / "lexpeak"))
    arguments = arguments.parse_args()

    document_ids, documents = read_texts(arguments.collection / "corpus.jsonl")
    query_ids, queries = read_texts(arguments.collection / "queries.jsonl")
    judgements = read_judgements(arguments.collection / "qrels" / "test.tsv")
    judged = [i for i, id in enumerate(query_ids) if id in judgements]
    query_ids, queries = [query_ids[i] for i in judged], [queries[i] for i in judged]

    original = SparseEncoder(arguments.model, device="cpu", model_kwargs={"dtype": "float32"})
    vectors = {
        "PyTorch f32": (
            encode_with_pytorch(original.encode_query, queries),
            encode_with_pytorch(original.encode_document, documents),
        )
    }
    vocabulary_size = vectors["PyTorch f32"][1].shape[1]
    command = [arguments.lexpeak, "encode", "--model", arguments.model]
    vectors["lexpeak"] = (
        encode_with_lexpeak([*command, "--role", "query"], query_ids, queries, vocabulary_size),
        encode_with_lexpeak([*command, "--role", "document"], document_ids, documents, vocabulary_size),
    )

    print(f"{arguments.collection.name}: {len(documents)} documents, {len(queries)} judged queries")
    measured = {}
    for name, (query_rows, document_rows) in vectors.items():
        measured[name] = ndcg(query_rows, document_rows, query_ids, document_ids, judgements)
        weights = document_rows.nnz / len(documents)
        print(f"{name:12} nDCG@{DEPTH} {measured[name]:.4f}   {weights:.1f} weights a document")
    difference = abs(measured["lexpeak"] - measured["PyTorch f32"])
    furthest = abs(vectors["lexpeak"][1] - vectors["PyTorch f32"][1]).max()
    print(f"difference   {difference:.4f}; furthest weight of a document off by {furthest:.1e}")
    return 0 if difference < 0.0005 else 1


if __name__ == "__main__":
    sys.exit(main())
