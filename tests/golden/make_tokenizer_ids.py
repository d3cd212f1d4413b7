"""Writes the token ids in xlm_roberta_ids.jsonl again: what the reference implementations say of the texts there.

    pip install transformers sentencepiece protobuf
    python scripts/fetch_tokenizer.py
    python tests/golden/make_tokenizer_ids.py

"ids" are from the tokenizers library, of XLM-RoBERTa's tokenizer.json. "built", where it differs, is what transformers
builds when there is no such file, from sentencepiece.bpe.model; that file is written here from the other. It also prints how
many texts sentencepiece itself sees in another way. The ids in the repository are from transformers 5.24.0, tokenizers 0.23.3 and
sentencepiece 0.2.3. The texts are those of make_golden.py, some written to be awkward, names and dates in 170 languages
from the Unicode CLDR, and 90 lines of random characters.
"""

import base64
import json
import tempfile
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer
from transformers import XLMRobertaTokenizer
from transformers.convert_slow_tokenizer import import_protobuf

HERE = Path(__file__).resolve().parent
TOKENIZER = HERE.parent.parent / "models" / "xlm-roberta-tokenizer" / "tokenizer.json"
ROWS = HERE / "xlm_roberta_ids.jsonl"

UNKNOWN, CONTROL = 2, 3


def sentencepiece_model(tokenizer):
    """The file that the tokeniser was made from."""
    model = import_protobuf().ModelProto()
    for text, kind in [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]:
        model.pieces.add(piece=text, score=0, type=kind)
    for text, score in tokenizer["model"]["vocab"][4:-1]:
        model.pieces.add(piece=text, score=score)
    charsmap = tokenizer["normalizer"]["normalizers"][0]["precompiled_charsmap"]
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.precompiled_charsmap = base64.b64decode(charsmap)
    model.trainer_spec.model_type = 1
    return model.SerializeToString()


def main():
    whole = Tokenizer.from_file(str(TOKENIZER))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sentencepiece.bpe.model")
        path.write_bytes(sentencepiece_model(json.loads(TOKENIZER.read_text(encoding="utf-8"))))
        Path(folder, "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
        built = XLMRobertaTokenizer.from_pretrained(folder)
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    rows = [json.loads(row) for row in ROWS.read_text(encoding="utf-8").split("\n") if row]
    fresh, unlike = [], 0
    for text in (row["text"] for row in rows):
        row = {"text": text, "ids": whole.encode(text).ids}
        ids = built(text)["input_ids"]
        if ids != row["ids"]:
            row["built"] = ids
        fresh.append(row)
        own = [0, *(3 if piece == 0 else piece + 1 for piece in pieces.encode(text)), 2]
        unlike += own != ids and not any(token in text for token in ("<s>", "</s>", "<pad>", "<unk>", "<mask>"))
    with open(ROWS, "w", encoding="utf-8") as file:
        for row in fresh:
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(rows)} texts, {unlike} of them otherwise by sentencepiece itself")


if __name__ == "__main__":
    main()
