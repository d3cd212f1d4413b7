# make demo: fetch a trained model, encode the sample passages on the CPU, show what comes out.
# make test: every test. Both install what they need beyond Rust and Python 3.
# make mutants: does a test fail without each barrier and wait of the kernels? About four minutes.
# make toolchain: the CUDA compiler into .cuda/, for a build with kernels.
# make standin: a CUDA driver for machines without a GPU; LD_LIBRARY_PATH=target/standin runs any program on it.

MODEL = models/splade-tiny
LEXPEAK = target/release/lexpeak

.PHONY: demo test toolchain nvcc standin model tokenizer build lint bench mutants

demo: model
	@python3 scripts/fetch_toolchain.py --for-gpu
	cargo build --release
	@mkdir -p out
	$(LEXPEAK) encode --model $(MODEL) --input samples/wordnet.jsonl --output out/wordnet.jsonl --tokens
	@python3 scripts/show_strongest.py samples/wordnet.jsonl out/wordnet.jsonl mars.n.09347445 volcano.n.09470550 jet_lag.n.14017033
	$(LEXPEAK) explain --model $(MODEL) --top-k 6 "Which planet is known as the Red Planet?"

test: model tokenizer nvcc
	cargo test --release --workspace

mutants: nvcc
	@python3 scripts/mutate_kernels.py

toolchain:
	@python3 scripts/fetch_toolchain.py

# Some nvcc, fetched if there is none.
nvcc:
	@python3 scripts/fetch_toolchain.py --unless-found

# Under both names by which programs look for the driver. Not in a folder that cargo searches: there it would hide a GPU.
standin:
	cargo build --release -p standin
	@mkdir -p target/standin
	install -m 755 target/release/libstandin.so target/standin/libcuda.so
	@ln -sf libcuda.so target/standin/libcuda.so.1

model:
	@python3 scripts/fetch_demo_model.py

# Of XLM-RoBERTa, for tests.
tokenizer:
	@python3 scripts/fetch_tokenizer.py

build:
	cargo build --release

lint: nvcc
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

bench:
	cargo bench
