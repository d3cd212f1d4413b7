# make demo: fetch a trained model, encode the sample passages on the CPU, show what comes out.
# make test: every test. Both install what they need beyond Rust and Python 3.

MODEL = models/splade-tiny
LEXPEAK = target/release/lexpeak

.PHONY: demo test model build lint bench

demo: model build
	@mkdir -p out
	$(LEXPEAK) encode --model $(MODEL) --input samples/wordnet.jsonl --output out/wordnet.jsonl --tokens
	@python3 scripts/show_strongest.py samples/wordnet.jsonl out/wordnet.jsonl mars.n.09347445 volcano.n.09470550 jet_lag.n.14017033
	$(LEXPEAK) explain --model $(MODEL) --top-k 6 "Which planet is known as the Red Planet?"

test: model
	cargo test --release --workspace

model:
	@python3 scripts/fetch_demo_model.py

build:
	cargo build --release

lint:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

bench:
	cargo bench
