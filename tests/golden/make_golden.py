"""Writes the golden rows in this folder: what the original PyTorch models answer, in float32.

    pip install torch transformers sentence-transformers
    python scripts/fetch_demo_model.py
    python tests/golden/make_golden.py [NAME ...]

Needed only when a model or a text is added; with names, only the rows of these models are written. The
rows in the repository were written with torch 2.15.0, transformers 5.23.0, sentence-transformers 6.2.0 and
numpy 2.4.6, those of RoBERTa's families and of token weights with transformers 5.24.0. Their tokenisers, in
tokenizers/, were trained once, with tokenizers 0.23.3 (BPE) and sentencepiece 0.2.3 (Unigram), on sample passages
and sentences in 14 scripts.

For each model of models.json, NAME.jsonl holds one row a text:

    {"text": ..., "ids": [token ids], "indices": [vocabulary ids], "values": [weights]}

with "max_length" or "special_tokens" where the row was encoded with that option. splade_tiny.jsonl
holds the same for the demo model. The models that weigh tokens have dense vectors and multi-vectors too, as far as
they give them:

    "dense": [values], "colbert": {"vectors": how many, "sample": [[which, [values]], ...]}

with "dense_size" where the dense vector was made of so many values. "sample" has all vectors of a short text; of
others the first, the last and some between. With "words" the text is so many words: those of "text", over and over;
and where that makes more than ID_LIMIT tokens, "tokens", their number, stands for "ids".

The weights of the small models exist nowhere: both sides fill
the tensors from their names (`random_values` here, tests/support/random_model.rs there), so the
only thing to keep of a pytorch_model.bin is its pickle stream, NAME.data.pkl, and which tensor
lies in which of its storages, NAME.storages.json. Of the layers that BGE-M3 keeps in files of their own there is a
pickle stream for each shape, LAYER_OUTPUTSxINPUTS.data.pkl; their storages are weight and bias. The seeds of the models
that weigh tokens were chosen such that the tokens which have no weight would often have one, if they were not left out.

BGE-M3's own implementation, FlagEmbedding 1.4.2 in float32 (with transformers 4.57.6), was given the weights of the bge_m3
models and the texts of their rows once: the same terms, their weights to 3e-6, all vectors to 4e-7, truncated ones too.
"""

import functools
import io
import itertools
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tokenizers import Tokenizer
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizer,
    CamembertConfig,
    CamembertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
)

HERE = Path(__file__).resolve().parent
DEMO_MODEL = HERE.parent.parent / "models" / "splade-tiny"

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = [  # of sentence-transformers' published score for the demo model
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
]

# What tokenisers disagree about, with words that the small vocabulary knows in part.
AWKWARD_TEXTS = [
    "",
    " \t\r\n",
    "planet",
    "Mars",
    "dog dog dog dog dog dog",
    "The quick brown fox jumps over the lazy dog.",
    "The Red Planet, Mars, isn't red: it's rusty!",
    "Crème brûlée à la carte costs 12 € — naïve cafe\u0301 Ölçü",
    "火星は赤い惑星 planet 🚀🪐 rocket",
    "!?.,;:-()[]{}…—'\"",
    "a literal [SEP] and [MASK], but [sep] and [ SEP ]",
    "tabs\tnew\nlines\u00a0spaces\u200bzero\u0000null\u00adsoft\ufffdreplaced",
    "un" + "search" * 20 + "able is one word of over a hundred letters",
]
# For RoBERTa's families: their special tokens, many scripts, characters that normalisation joins, splits or drops.
MULTILINGUAL_TEXTS = [
    "a literal <s>, </s> and  <mask>, but <S>, < mask > and <unk>NOTUSED",
    "<mask>",
    "La planète Mars, c'est l'été\u00a0: ÇA COÛTE 12 € !",
    "  two  spaces,   three,\ttab\n\nlines \u3000 wide  ",
    "火星は赤い惑星です。Ｍａｒｓ　ﬁｒｅ か\u3099",
    "المريخ هو الكوكب الأحمر ﻻ ﷼ \u200eنص",
    "मंगल ग्रह लाल ग्रह है। 화성은 행성입니다",
    "👩\u200d🚀👍🏽🇫🇷🇩🇪 e\u0301o\u0308a\u0323\u0302 \u0301 ½ ™ n² Å",
    "\u2581leading and in\u2581side \u0600 1\u0600 2",
    "it's we'll THEY'RE 2026 3.14 ''quoted'' x\u00adray \ufffd\ue000",
]
# A head of token weights leaves out what is unknown.
UNKNOWN_TEXT = "<unk> <unk>"
# Words of one token each, a prime number of them; and how many the long texts have, before the two special tokens.
WORDS = """the in an re is planet la fro sun for to mo ال co be with star di mot or element ga Earth Mars wa plan br
    se system comp na pla small light vi par orbit cel bod all sa nucle mass rock по cha hav sou nu do extr ha quant
    satellite energy produc earth atom high"""
LONG_TEXTS = [1, 2, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1000, 2048, 4097, 8190, 8191, 9000]
ID_LIMIT = 600
# Repeated often enough, longer than the other models take.
SENTENCE = "quick sparse search engine weighs the word; "

DEMO_TEXTS = [
    QUERY,
    *DOCUMENTS,
    *AWKWARD_TEXTS,
    "Learned sparse retrieval expands a passage with terms that it does not contain.",
    "What causes the northern lights?",
    "def forward(self, x): return self.linear(x).relu()  # O(n²)",
    "https://example.org/a/b?c=d&e=f#g, user.name@example.org, +1 (555) 010-0199",
    "Die Straße nach Århus führt über Łódź und Đà Nẵng.",
    "ЁЛКИ-ПАЛКИ اللغة العربية हिन्दी 한국어 ﬁne ½ ＡＢＣ",
]


def random_values(name, shape, fill, seed):
    """The values of a tensor from its name alone: splitmix64 seeded by FNV-1a.

    Each step is exact or one float32 rounding, so that Rust arrives at the same bits.
    """
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    state ^= seed
    with np.errstate(over="ignore"):
        steps = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
        z = np.uint64(state) + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    values = np.float32(fill["center"]) + np.float32(fill["spread"]) * unit
    return torch.from_numpy(values.reshape(shape))


def fill_of(name):
    """Which entry of "fills" a tensor takes."""
    if name in (
        "cls.predictions.bias",
        "cls.predictions.decoder.bias",
        "vocab_projector.bias",
        "lm_head.bias",
        "lm_head.decoder.bias",
    ):
        return "decoder_bias"
    if name.endswith(".bias"):
        return "bias"
    if "norm" in name.lower():
        return "norm_weight"
    if name.startswith(("sparse_linear", "classifier", "coil_encoder.tok_proj")):
        return "token_weight"
    # A decoder has the scale of the embedding that it could have been tied to.
    if "embeddings" in name or "decoder" in name or "projector" in name:
        return "embedding"
    return "matrix"


class BgeM3(XLMRobertaModel):
    """An encoder with the two layers that BGE-M3 keeps in files of their own, in half precision."""

    LAYER_FILES = ("sparse_linear", "colbert_linear")

    def __init__(self, config):
        super().__init__(config)
        self.sparse_linear = torch.nn.Linear(config.hidden_size, 1)
        self.colbert_linear = torch.nn.Linear(config.hidden_size, config.colbert)


class UniCoil(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.bert = BertModel(config)
        self.coil_encoder = torch.nn.ModuleDict({"tok_proj": torch.nn.Linear(config.hidden_size, 1)})


# Where the models that weigh tokens keep encoder and layer, which tokens they give no weight, and whether the hidden
# state of the first token is a vector of the text.
UNWEIGHTED = ["<s>", "<pad>", "</s>", "<unk>"]
TOKEN_WEIGHTS = {
    "XLMRobertaModel": dict(encoder="", layer="sparse_linear", unweighted=UNWEIGHTED, dense=True),
    "XLMRobertaForTokenClassification": dict(encoder="roberta", layer="classifier", unweighted=UNWEIGHTED, dense=True),
    "UniCoilEncoder": dict(encoder="bert", layer="coil_encoder.tok_proj", unweighted=["[CLS]", "[PAD]"], dense=False),
}

# Configuration, model, and the tokeniser in tokenizers/.
ROBERTA_FAMILIES = {
    "RobertaForMaskedLM": (RobertaConfig, RobertaForMaskedLM, "roberta"),
    "XLMRobertaForMaskedLM": (XLMRobertaConfig, XLMRobertaForMaskedLM, "xlm_roberta"),
    "CamembertForMaskedLM": (CamembertConfig, CamembertForMaskedLM, "camembert"),
    "XLMRobertaModel": (XLMRobertaConfig, BgeM3, "xlm_roberta"),
    "XLMRobertaForTokenClassification": (XLMRobertaConfig, XLMRobertaForTokenClassification, "xlm_roberta"),
}
BERTS = {"BertForMaskedLM": BertForMaskedLM, "UniCoilEncoder": UniCoil}


def untrained_model(case, vocabulary_size):
    """The model of a case as transformers builds it, its weights still to be filled."""
    hidden = case["heads"] * case["head_dim"]
    shared = dict(
        vocab_size=vocabulary_size,
        max_position_embeddings=case["max_positions"],
        tie_word_embeddings=not case["separate_decoder"],
        attn_implementation="eager",
    )
    if case["architecture"] in BERTS:
        return BERTS[case["architecture"]](
            BertConfig(
                num_hidden_layers=case["layers"],
                num_attention_heads=case["heads"],
                hidden_size=hidden,
                intermediate_size=case["ffn"],
                layer_norm_eps=case["norm_eps"],
                **shared,
            )
        )
    if case["architecture"] in ROBERTA_FAMILIES:
        config_class, model_class, _ = ROBERTA_FAMILIES[case["architecture"]]
        # Positions of their own start behind those of padding, which has id 1.
        shared["max_position_embeddings"] = case["max_positions"] + 2
        return model_class(
            config_class(
                num_hidden_layers=case["layers"],
                num_attention_heads=case["heads"],
                hidden_size=hidden,
                intermediate_size=case["ffn"],
                layer_norm_eps=case["norm_eps"],
                type_vocab_size=1,
                pad_token_id=1,
                num_labels=1,
                colbert=case["colbert"],
                **shared,
            )
        )
    return DistilBertForMaskedLM(
        DistilBertConfig(
            n_layers=case["layers"],
            n_heads=case["heads"],
            dim=hidden,
            hidden_dim=case["ffn"],
            **shared,
        )
    )


def filled_name(case, name):
    """The name after which a tensor is filled: of a tied pair the embedding's, and the first bias's."""
    if name == "lm_head.decoder.weight" and not case["separate_decoder"]:
        return "roberta.embeddings.word_embeddings.weight"
    return name


def small_model(case, fills, vocabulary_size):
    """The model of a case in the precision of its files: float32, or rounded to 16 bits."""
    stored_type = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    model = untrained_model(case, vocabulary_size).eval().to(stored_type[case["stored_type"]])
    if isinstance(model, BgeM3):
        for layer in BgeM3.LAYER_FILES:
            model.get_submodule(layer).half()
    # `parameters` names a tied pair once.
    for name, parameter in model.named_parameters():
        name = filled_name(case, name)
        parameter.data.copy_(random_values(name, parameter.shape, fills[fill_of(name)], case["seed"]))
    return model


def small_tokenizer(case, vocabulary):
    """The tokeniser of a case, read by transformers; of BERT from the files that lexpeak reads."""
    if case["architecture"] in ROBERTA_FAMILIES:
        # The tokenizers library by itself: what transformers builds around it differs from version to version.
        special = dict(bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>")
        special |= dict(unk_token="<unk>", pad_token="<pad>", mask_token="<mask>")
        tokenizer = Tokenizer.from_file(str(tokenizer_file(case)))
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.txt").write_text("".join(f"{word}\n" for word in vocabulary))
        Path(folder, "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": case["lower_case"]})
        )
        return BertTokenizer.from_pretrained(folder)


def tokenizer_file(case):
    return HERE / "tokenizers" / f"{ROBERTA_FAMILIES[case['architecture']][2]}.json"


def keep_pickle_streams(case, model):
    """What torch.save writes for the model, without the weights."""
    state = model.state_dict()
    if isinstance(model, BgeM3):
        for name in BgeM3.LAYER_FILES:
            layer = model.get_submodule(name)
            keep_layer(name, layer)
            for parameter in layer.state_dict():
                del state[f"{name}.{parameter}"]
    if case["file"] != "bin":
        return
    # Checkpoints of the time when .bin was common carry this tensor, and readers must skip it.
    if case["architecture"] == "BertForMaskedLM":
        state["bert.embeddings.position_ids"] = torch.arange(case["max_positions"])[None]
    if case["architecture"] in ROBERTA_FAMILIES:
        encoder = "" if isinstance(model, BgeM3) else "roberta."
        state[f"{encoder}embeddings.position_ids"] = torch.arange(case["max_positions"] + 2)[None]
    # Tied tensors share a storage; torch numbers the storages as it meets them.
    storages = {}
    for name, tensor in state.items():
        storages.setdefault(tensor.data_ptr(), filled_name(case, name))
    (HERE / f"{case['name']}.data.pkl").write_bytes(pickle_stream(state))
    (HERE / f"{case['name']}.storages.json").write_text(json.dumps(list(storages.values()), indent=1) + "\n")


def keep_layer(name, layer):
    file = HERE / f"{name}_{layer.out_features}x{layer.in_features}.data.pkl"
    file.write_bytes(pickle_stream(layer.state_dict()))


def pickle_stream(state):
    archive = io.BytesIO()
    torch.save(state, archive)
    return zipfile.ZipFile(archive).read("archive/data.pkl")


def golden_row(model, tokenizer, pooling, text, max_length=None, special_tokens="keep"):
    """One text by itself through tokeniser, model and pooling."""
    longest = model.config.max_position_embeddings
    if model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        longest -= 2
    encoding = tokenizer(
        text,
        truncation=True,
        max_length=max_length or longest,
        return_special_tokens_mask=True,
    )
    ids = torch.tensor([encoding["input_ids"]])
    pooled = torch.ones_like(ids)
    if special_tokens == "drop-positions":
        pooled -= torch.tensor([encoding["special_tokens_mask"]])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        features = pooling({"token_embeddings": logits, "attention_mask": pooled})
    weights = features["sentence_embedding"][0]
    if special_tokens == "zero-columns":
        weights[tokenizer.all_special_ids] = 0
    indices = weights.nonzero()[:, 0].tolist()
    row = {"text": text}
    if max_length is not None:
        row["max_length"] = max_length
    if special_tokens != "keep":
        row["special_tokens"] = special_tokens
    return row | {"ids": encoding["input_ids"], "indices": indices, "values": numbers(weights[indices])}


def token_weight_row(case, model, tokenizer, text, words=None, max_length=None, special_tokens="keep", dense_size=None):
    """One text by itself through a model that weighs tokens."""
    head = TOKEN_WEIGHTS[case["architecture"]]
    encoding = tokenizer(
        repeated(text, words),
        truncation=True,
        max_length=max_length or case["max_positions"],
        return_special_tokens_mask=True,
    )
    ids = torch.tensor(encoding["input_ids"])
    with torch.no_grad():
        encoder = model.get_submodule(head["encoder"])
        hidden = encoder(ids[None], attention_mask=torch.ones_like(ids)[None]).last_hidden_state[0]
        token_weights = model.get_submodule(head["layer"])(hidden)[:, 0].relu()
        if special_tokens == "drop-positions":
            token_weights *= 1 - torch.tensor(encoding["special_tokens_mask"])
        weights = torch.zeros(len(tokenizer)).scatter_reduce(0, ids, token_weights, "amax")
        weights[tokenizer.convert_tokens_to_ids(head["unweighted"])] = 0
        if special_tokens == "zero-columns":
            weights[tokenizer.all_special_ids] = 0
        dense = torch.nn.functional.normalize(hidden[0, :dense_size], dim=0)
        if isinstance(model, BgeM3):
            vectors = torch.nn.functional.normalize(model.colbert_linear(hidden[1:]), dim=1)

    options = {"words": words, "max_length": max_length, "dense_size": dense_size}
    row = {"text": text} | {option: value for option, value in options.items() if value is not None}
    if special_tokens != "keep":
        row["special_tokens"] = special_tokens
    row |= {"ids": encoding["input_ids"]} if len(ids) <= ID_LIMIT else {"tokens": len(ids)}
    row["indices"] = weights.nonzero()[:, 0].tolist()
    row["values"] = numbers(weights[row["indices"]])
    if head["dense"]:
        row["dense"] = numbers(dense)
    if isinstance(model, BgeM3):
        last = len(vectors) - 1
        sample = range(last + 1) if last < 8 else [round(last * step / 5) for step in range(6)]
        row["colbert"] = {"vectors": len(vectors), "sample": [[which, numbers(vectors[which])] for which in sample]}
    return row


def repeated(text, words):
    """So many words: those of the text, over and over."""
    if words is None:
        return text
    return " ".join(itertools.islice(itertools.cycle(text.split(" ")), words))


def numbers(tensor):
    # str of a float32 is its shortest form that reads back as the same number.
    return [float(str(value)) for value in tensor.numpy()]


def token_weight_rows(case, model, tokenizer, texts):
    row = functools.partial(token_weight_row, case, model, tokenizer)
    if case["max_positions"] > 1000:
        words = " ".join(WORDS.split())
        yield from (row(words, count) for count in LONG_TEXTS)
        yield row(words, LONG_TEXTS[-1], max_length=700)
        return
    yield from (row(text) for text in [*texts, UNKNOWN_TEXT, SENTENCE * 8])
    # Special tokens stand also in the text.
    for text in [texts[6], *(text for text in texts if text.startswith("a literal"))]:
        yield row(text, max_length=7)
        yield row(text, special_tokens="zero-columns")
        yield row(text, special_tokens="drop-positions")
    if TOKEN_WEIGHTS[case["architecture"]]["dense"]:
        hidden = case["heads"] * case["head_dim"]
        yield from (row(texts[6], dense_size=size) for size in [1, hidden // 2 + 1])


def write_rows(name, rows):
    with open(HERE / f"{name}.jsonl", "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
    sizes = [len(row["indices"]) for row in rows]
    strongest = max(max(row["values"], default=0) for row in rows)
    print(f"{name}: {len(rows)} rows, {min(sizes)} to {max(sizes)} weights, the largest {strongest:.2f}")


def main():
    catalogue = json.loads((HERE / "models.json").read_text())
    vocabulary = (HERE / "vocab.txt").read_text(encoding="utf-8").splitlines()
    wanted = set(sys.argv[1:])
    # BGE-M3's real size, which a benchmark has.
    keep_layer("sparse_linear", torch.nn.Linear(1024, 1).half())
    keep_layer("colbert_linear", torch.nn.Linear(1024, 1024).half())
    for changes in catalogue["models"]:
        case = catalogue["defaults"] | changes
        if wanted and case["name"] not in wanted:
            continue
        texts = AWKWARD_TEXTS
        words = vocabulary[: case["vocab"]]
        size = len(words)
        if case["architecture"] in ROBERTA_FAMILIES:
            texts = [*AWKWARD_TEXTS, *MULTILINGUAL_TEXTS]
            size = Tokenizer.from_file(str(tokenizer_file(case))).get_vocab_size()
        model = small_model(case, catalogue["fills"], size)
        keep_pickle_streams(case, model)
        model = model.float()
        tokenizer = small_tokenizer(case, words)
        if case["architecture"] in TOKEN_WEIGHTS:
            write_rows(case["name"], list(token_weight_rows(case, model, tokenizer, texts)))
            continue
        pooling = SpladePooling(**head_of(case)).eval()
        rows = [golden_row(model, tokenizer, pooling, text) for text in [*texts, SENTENCE * 8]]
        rows += option_rows(model, tokenizer, pooling, AWKWARD_TEXTS[6:7])
        write_rows(case["name"], rows)

    if wanted and "splade_tiny" not in wanted:
        return
    model = AutoModelForMaskedLM.from_pretrained(DEMO_MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    pooling = SpladePooling().eval()
    rows = [golden_row(model, tokenizer, pooling, text) for text in [*DEMO_TEXTS, SENTENCE * 75]]
    rows += option_rows(model, tokenizer, pooling, ["", QUERY, DOCUMENTS[1], AWKWARD_TEXTS[10]])
    write_rows("splade_tiny", rows)


def head_of(case):
    head = case["head"] or {"pooling": "max", "activation": "relu"}
    return {"pooling_strategy": head["pooling"], "activation_function": head["activation"]}


def option_rows(model, tokenizer, pooling, texts):
    for text in texts:
        yield golden_row(model, tokenizer, pooling, text, max_length=7)
        yield golden_row(model, tokenizer, pooling, text, special_tokens="zero-columns")
        yield golden_row(model, tokenizer, pooling, text, special_tokens="drop-positions")


if __name__ == "__main__":
    main()
