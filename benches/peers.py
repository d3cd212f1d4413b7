"""lexpeak beside what others run on a CPU: same model, same texts, same machine, in turn.

    pip install sentence-transformers onnxruntime onnx
    make model && cargo build --release
    python benches/peers.py splade-tiny
    python benches/peers.py bert-base

splade-tiny is the demo model over the 300 sample passages. bert-base is a model of BERT-base's shape
with random weights over 16 texts of 256 tokens made of them. sentence-transformers runs its
SparseEncoder in float32; onnxruntime runs the exported logits and NumPy pools them, as fastembed
does. All use as many threads as there are cores. Every engine encodes everything once to warm up and
then in turn, tokenising included; the table gives the median of the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import sentence_transformers
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

ROOT = Path(__file__).resolve().parent.parent
DEMO_MODEL = ROOT / "models" / "splade-tiny"
MAX_LENGTH = 256
BATCH = 8
ROUNDS = 5


def passages():
    with open(ROOT / "samples" / "wordnet.jsonl", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def long_texts(count):
    """Neighbouring passages joined until they are longer than the limit."""
    parts = passages()
    return [". ".join(parts[first : first + 25]) for first in range(0, 10 * count, 10)]


def random_bert_base(folder):
    """Few of its logits are positive, as in a trained model."""
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig())
    with torch.no_grad():
        model.cls.predictions.bias.fill_(-1.9)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(DEMO_MODEL).save_pretrained(folder)
    return folder


def lexpeak(model, texts, scratch):
    path = scratch / "texts.jsonl"
    lines = (json.dumps({"id": id, "text": text}) + "\n" for id, text in enumerate(texts))
    path.write_text("".join(lines), encoding="utf-8")
    command = [ROOT / "target/release/lexpeak", "encode", "--model", model, "--input", path]
    command += ["--output", scratch / "vectors.jsonl", "--max-length", str(MAX_LENGTH)]

    def run():
        # The program's own clock: loading the model is not counted for the others either.
        report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        return float(report.split(" in ")[1].split(" s:")[0])

    return run


def timed(encode):
    def run():
        start = time.perf_counter()
        encode()
        return time.perf_counter() - start

    return run


def reference(model, texts):
    encoder = sentence_transformers.SparseEncoder(str(model), device="cpu")
    encoder.max_seq_length = MAX_LENGTH
    return timed(lambda: encoder.encode(texts, batch_size=BATCH))


def onnx(model, texts, tokenizer, scratch):
    network = BertForMaskedLM.from_pretrained(model, attn_implementation="eager").eval()
    network.config.return_dict = False
    example = tokenizer(texts[:2], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    names, axes = ["input_ids", "attention_mask"], {0: "batch", 1: "tokens"}
    path = scratch / "model.onnx"
    torch.onnx.export(
        network,
        tuple(example[name] for name in names),
        path,
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: axes for name in [*names, "logits"]},
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    by_length = sorted(texts, key=len, reverse=True)

    def encode():
        for first in range(0, len(texts), BATCH):
            batch = tokenizer(
                by_length[first : first + BATCH],
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="np",
            )
            (logits,) = session.run(None, {name: batch[name] for name in names})
            weights = np.log1p(np.maximum(logits, 0)) * batch["attention_mask"][..., None]
            for row in weights.max(axis=1):
                (indices,) = row.nonzero()
                row[indices]

    return timed(encode)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["splade-tiny", "bert-base"])
    name = parser.parse_args().model
    torch.set_num_threads(os.cpu_count())
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if name == "splade-tiny":
            model, texts = DEMO_MODEL, passages()
        else:
            model, texts = random_bert_base(scratch / "bert-base"), long_texts(16)
        tokenizer = AutoTokenizer.from_pretrained(model)
        ids = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
        tokens = sum(map(len, ids))
        engines = {
            "lexpeak f32": lexpeak(model, texts, scratch),
            f"onnxruntime {onnxruntime.__version__} f32": onnx(model, texts, tokenizer, scratch),
            f"sentence-transformers {sentence_transformers.__version__} f32": reference(model, texts),
        }
        seconds = {engine: [] for engine in engines}
        for round in range(ROUNDS + 1):
            for engine, run in engines.items():
                elapsed = run()
                if round > 0:
                    seconds[engine].append(elapsed)

    ours, *_ = seconds.values()
    print(f"{name}: {len(texts)} texts, {tokens} tokens, {os.cpu_count()} cores, median of {ROUNDS} rounds")
    for engine, theirs in seconds.items():
        ratio = statistics.median(their / our for their, our in zip(theirs, ours))
        rate = tokens / statistics.median(theirs)
        print(f"  {engine:<36} {rate:8.0f} tokens/s   lexpeak is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
