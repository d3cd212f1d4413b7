//! The face of the library: a model, its tokeniser and an engine behind one call.

#![forbid(unsafe_code)]

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cpu::CpuEngine;
use crate::cuda;
use crate::deal::deal;
use crate::embeddings::{Embeddings, OutputSizes, Outputs};
use crate::engine::{Device, Dtype, Encoded, Engine, EngineDescription, Memory, Want};
use crate::engine_pool::EnginePool;
use crate::error::{Error, Result};
use crate::model::{Head, Model, ModelSpec, Prompts};
use crate::pack::{PackedBatch, Packer};
use crate::prune::Pruning;
use crate::sparse::SparseRows;
use crate::tokenize::{TokenSequence, Tokenizer};

/// Turns texts into learned sparse vectors, and into dense ones where the model gives them.
///
/// ```no_run
/// # fn main() -> Result<(), lexpeak::Error> {
/// use lexpeak::{Device, EncodeOptions, Encoder};
///
/// let encoder = Encoder::builder("models/splade-tiny").device(Device::Auto).build()?;
/// let rows = encoder.encode(&["Mars is the Red Planet"], &EncodeOptions::default())?;
/// for (id, weight) in rows.row(0).entries() {
///     println!("{} {weight}", encoder.token(id));
/// }
/// # Ok(())
/// # }
/// ```
pub struct Encoder {
    spec: ModelSpec,
    tokenizer: Tokenizer,
    prompts: Prompts,
    /// Tokenises, and computes on the CPU.
    workers: ThreadPool,
    engines: EnginePool,
    description: EngineDescription,
    /// Tokens a batch: as asked for, and as memory allows.
    wanted_batch_tokens: usize,
    batch_tokens: usize,
}

/// How an [`Encoder`] is set up.
#[derive(Clone, Debug)]
pub struct EncoderBuilder {
    model: PathBuf,
    device: Device,
    dtype: Dtype,
    threads: Option<usize>,
    batch_tokens: Option<usize>,
}

/// What a text is to the search that it is encoded for; models may have a prompt for either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Role {
    /// A text to be found.
    #[default]
    Document,
    /// A text to search with.
    Query,
}

/// What becomes of the special tokens (`[CLS]`, `[SEP]`, ...). Search systems differ here, and their
/// vectors do not mix: encode queries and documents alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum SpecialTokens {
    /// They are tokens like all others: the original SPLADE, sentence-transformers.
    #[default]
    Keep,
    /// Their positions are pooled, but their vocabulary columns are left out: OpenSearch.
    ZeroColumns,
    /// Their positions are not pooled: the LSR framework.
    DropPositions,
}

/// What to compute from a text, and which of its weights to keep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncodeOptions {
    /// What the texts are.
    pub role: Role,
    /// Longest input in tokens, special ones included; longer texts lose their end. Default: the model's own.
    pub max_length: Option<usize>,
    /// Which of the model's outputs are wanted.
    pub outputs: Outputs,
    /// A dense vector is made of so many values of the hidden state, the first ones, before it is normalised. Default: all.
    pub truncate_dim: Option<usize>,
    /// What becomes of special tokens.
    pub special_tokens: SpecialTokens,
    /// Only weights above this are kept.
    pub min_weight: f32,
    /// At most so many weights a text are kept, the heaviest. Default: all.
    pub top_k: Option<usize>,
}

impl EncodeOptions {
    /// The same with the sparse output alone.
    fn sparse_only(&self) -> Self {
        Self {
            outputs: Outputs::default(),
            truncate_dim: None,
            ..self.clone()
        }
    }
}

/// One weight of a text, with where it comes from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Term {
    /// Vocabulary id.
    pub id: u32,
    /// Its string in the vocabulary.
    pub token: String,
    /// Its weight.
    pub weight: f32,
    /// Position of the input token that won the max (under sum pooling: that gave most), from 0.
    pub position: usize,
    /// That input token.
    pub source: String,
}

/// Far more than any engine gains from.
const MOST_BATCH_TOKENS: usize = 1 << 22;

impl EncoderBuilder {
    /// Where to compute; default [`Device::Auto`].
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// In which precision to compute; default [`Dtype::Auto`].
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Worker threads; default: one a core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Tokens that the engine computes at a time; default: what suits the device. More tokens take
    /// more memory; where a GPU has too little, they are [fewer](Encoder::batch_tokens).
    pub fn batch_tokens(mut self, tokens: usize) -> Self {
        self.batch_tokens = Some(tokens);
        self
    }

    /// Finds the model, checks its files and loads it.
    ///
    /// # Errors
    ///
    /// Any fault of the model's files, each naming file and remedy; a device or precision that this
    /// build or machine does not have.
    pub fn build(self) -> Result<Encoder> {
        let description = EngineDescription::resolve(self.device, self.dtype, self.threads)?;
        let on_cpu = description.gpus.is_empty();
        let wanted_batch_tokens = self.batch_tokens.unwrap_or(if on_cpu {
            CpuEngine::BATCH_TOKENS
        } else {
            cuda::BATCH_TOKENS
        });
        if !(1..=MOST_BATCH_TOKENS).contains(&wanted_batch_tokens) {
            return Err(Error::usage(
                format!("{wanted_batch_tokens} tokens a batch"),
                format!("ask for 1 to {MOST_BATCH_TOKENS}"),
            ));
        }

        let mut model = Model::open(&self.model)?;
        let tokenizer = Tokenizer::open(
            &model.folder,
            model.spec.architecture,
            model.spec.vocab_size,
        )?;
        if let Some(longest) = tokenizer.max_length {
            model.spec.max_length = model.spec.max_length.min(longest);
        }
        let max_length = model.spec.max_length;
        if max_length <= tokenizer.added_tokens() {
            return Err(Error::model(
                &model.folder,
                format!("a maximum length of {max_length} tokens leaves no room for text"),
                "correct max_position_embeddings (config.json), max_seq_length \
                 (sentence_bert_config.json) or model_max_length (tokenizer_config.json)",
            ));
        }
        let workers = ThreadPoolBuilder::new()
            .num_threads(description.threads)
            .thread_name(|number| format!("lexpeak-{number}"))
            .build()
            .map_err(|e| {
                Error::unsupported(
                    format!("the worker threads could not be started: {e}"),
                    "allow this process more threads, or ask for fewer",
                )
            })?;
        let (engines, batch_tokens) = if on_cpu {
            let engine = workers.install(|| CpuEngine::new(&model))?;
            (
                EnginePool::new(vec![vec![Box::new(engine)]]),
                wanted_batch_tokens,
            )
        } else {
            on_gpus(&description, &model, wanted_batch_tokens)?
        };
        Ok(Encoder {
            spec: model.spec,
            tokenizer,
            prompts: model.prompts,
            workers,
            engines,
            description,
            wanted_batch_tokens,
            batch_tokens,
        })
    }
}

/// The engines of all GPUs, and the tokens a batch that fit on each of them.
fn on_gpus(
    description: &EngineDescription,
    model: &Model,
    batch_tokens: usize,
) -> Result<(EnginePool, usize)> {
    let load = |&gpu: &usize| {
        let engines = cuda::engines(gpu, description.dtype, model, batch_tokens);
        engines.map_err(|error| error.within(format!("GPU {gpu}")))
    };
    let loaded: Vec<Result<_>> = thread::scope(|scope| {
        let loading: Vec<_> = (description.gpus.iter())
            .map(|gpu| scope.spawn(move || load(gpu)))
            .collect();
        let loaded = loading.into_iter().map(|gpu| gpu.join());
        loaded
            .map(|gpu| gpu.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    let (mut engines, mut fit) = (Vec::new(), batch_tokens);
    for gpu in loaded {
        let (of_gpu, fit_there) = gpu?;
        engines.push(of_gpu);
        fit = fit.min(fit_there);
    }
    Ok((EnginePool::new(engines), fit))
}

impl Encoder {
    /// Begins to set up an encoder of `model`: a folder, or the id of a model on the Hugging Face hub.
    pub fn builder(model: impl AsRef<Path>) -> EncoderBuilder {
        EncoderBuilder {
            model: model.as_ref().to_owned(),
            device: Device::Auto,
            dtype: Dtype::Auto,
            threads: None,
            batch_tokens: None,
        }
    }

    /// The sparse vectors of `texts`, one row a text, in their order, whatever outputs `options` name.
    ///
    /// # Errors
    ///
    /// An option without sense, or a model whose numbers overflow.
    pub fn encode<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        options: &EncodeOptions,
    ) -> Result<SparseRows> {
        let embeddings = self.embed(texts, &options.sparse_only())?;
        Ok(embeddings.sparse.expect("it was asked for. This is a bug"))
    }

    /// The outputs that `options` name for `texts`, in their order, from one forward pass.
    ///
    /// # Errors
    ///
    /// An output that the model does not have, an option without sense, or a model whose numbers overflow.
    pub fn embed<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        options: &EncodeOptions,
    ) -> Result<Embeddings> {
        let job = self.job(options)?;
        let mut packer = job.packer();
        let mut batches = Vec::new();
        for sequence in job.tokenize(texts) {
            batches.extend(packer.push(&sequence?));
        }
        batches.extend(packer.finish());

        let mut all = Ok(Embeddings::new(job.outputs));
        deal(
            self.hands().min(batches.len().max(1)),
            |give| {
                batches.into_iter().all(give);
            },
            |batch| job.encode_batch(&batch),
            |encoded| {
                match (&mut all, encoded) {
                    (Ok(all), Ok(encoded)) => all.append(&encoded),
                    (_, failed) => all = failed,
                }
                all.is_ok()
            },
        );
        all
    }

    /// The weights of one text, heaviest first, each with the input token it comes from.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode).
    pub fn explain(&self, text: &str, options: &EncodeOptions) -> Result<Vec<Term>> {
        let job = self.job(&options.sparse_only())?;
        let sequence = job.tokenize(&[text]).remove(0)?;
        let mut batch = PackedBatch::new();
        batch.push(&sequence, job.pool_special);
        let Encoded {
            embeddings,
            positions,
        } = self.compute(&batch, job.want(true))?;
        let rows = embeddings.sparse.expect("it was asked for. This is a bug");
        let row = rows.row(0);
        let mut terms: Vec<Term> = job
            .pruning
            .kept(row)
            .map(|at| {
                let position = positions[at] as usize;
                Term {
                    id: row.indices[at],
                    token: self.token(row.indices[at]),
                    weight: row.values[at],
                    position,
                    source: self.token(sequence.ids[position]),
                }
            })
            .collect();
        terms.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id)));
        Ok(terms)
    }

    /// The token ids of a text as the model gets them.
    ///
    /// # Errors
    ///
    /// An option without sense.
    pub fn token_ids(&self, text: &str, options: &EncodeOptions) -> Result<Vec<u32>> {
        Ok(self.job(options)?.tokenize(&[text]).remove(0)?.ids)
    }

    /// The vocabulary's string for `id`; `[id N]` where the vocabulary has none.
    pub fn token(&self, id: u32) -> String {
        self.tokenizer
            .token(id)
            .unwrap_or_else(|| format!("[id {id}]"))
    }

    /// The model's shape.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Which engine computes, and how.
    pub fn description(&self) -> &EngineDescription {
        &self.description
    }

    /// Tokens that are computed at a time: as many as were asked for, or as the memory of the GPUs allows.
    pub fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }

    /// Tokens that were to be computed at a time.
    pub fn wanted_batch_tokens(&self) -> usize {
        self.wanted_batch_tokens
    }

    /// What the engine holds in memory, and needs for batches of [`largest_batch`](Self::largest_batch) tokens.
    pub fn memory(&self) -> Memory {
        self.engines.take().memory(self.largest_batch())
    }

    /// Tokens of the largest batch unless longer texts are asked for: a text is never divided, however few tokens are to be
    /// computed at a time.
    pub fn largest_batch(&self) -> usize {
        self.batch_tokens.max(self.spec.max_length)
    }

    /// Batches that are worked on at once.
    pub(crate) fn hands(&self) -> usize {
        self.engines.len()
    }

    /// Checks `options` without a text, and tells the sizes of the outputs that they name.
    ///
    /// # Errors
    ///
    /// An option without sense for this model.
    pub fn check(&self, options: &EncodeOptions) -> Result<OutputSizes> {
        Ok(self.job(options)?.outputs)
    }

    /// Checks `options` and binds them to this encoder.
    pub(crate) fn job(&self, options: &EncodeOptions) -> Result<Job<'_>> {
        let max_length = options.max_length.unwrap_or(self.spec.max_length);
        let shortest = self.tokenizer.added_tokens() + 1;
        let longest = self.spec.longest_input;
        if !(shortest..=longest).contains(&max_length) {
            return Err(Error::usage(
                format!("a length of {max_length} tokens is out of this model's range"),
                format!("ask for {shortest} to {longest} tokens"),
            ));
        }
        if !(options.min_weight >= 0.0 && options.min_weight.is_finite()) {
            return Err(Error::usage(
                format!("a minimum weight of {}", options.min_weight),
                "weights are greater than 0: ask for 0 or more",
            ));
        }
        let mut excluded = match options.special_tokens {
            SpecialTokens::ZeroColumns => self.tokenizer.special_ids().to_vec(),
            SpecialTokens::Keep | SpecialTokens::DropPositions => Vec::new(),
        };
        if let Head::TokenWeights(_) = self.spec.head {
            excluded.extend_from_slice(self.tokenizer.unweighted_ids());
            excluded.sort_unstable();
        }
        Ok(Job {
            outputs: self.output_sizes(options)?,
            encoder: self,
            prompt: match options.role {
                Role::Document => &self.prompts.document,
                Role::Query => &self.prompts.query,
            },
            max_length,
            pool_special: options.special_tokens != SpecialTokens::DropPositions,
            pruning: Pruning {
                excluded,
                min_weight: options.min_weight,
                top_k: options.top_k,
            },
        })
    }

    fn output_sizes(&self, options: &EncodeOptions) -> Result<OutputSizes> {
        let Outputs {
            sparse,
            dense,
            colbert,
        } = options.outputs;
        let has = self.spec.head.outputs();
        let missing = [
            (dense && !has.dense, "dense"),
            (colbert && !has.colbert, "colbert"),
        ];
        if let Some((_, name)) = missing.into_iter().find(|(missing, _)| *missing) {
            let class = self.spec.architecture.class_name();
            let named = if has.dense {
                "sparse and dense"
            } else {
                "sparse"
            };
            return Err(Error::usage(
                format!("{class} has no {name} output"),
                format!("ask for {named}"),
            ));
        }
        if !(sparse || dense || colbert) {
            return Err(Error::usage(
                "no output",
                "ask for at least one of sparse, dense and colbert",
            ));
        }
        if !dense && options.truncate_dim.is_some() {
            return Err(Error::usage(
                "a size of dense vectors, which are not asked for",
                "ask for them, too, or leave the size out",
            ));
        }
        if !sparse && (options.top_k.is_some() || options.min_weight > 0.0) {
            return Err(Error::usage(
                "limits on the weights of sparse rows, which are not asked for",
                "ask for them, too, or leave the limits out",
            ));
        }
        let hidden = self.spec.hidden_size;
        let dense_size = options.truncate_dim.unwrap_or(hidden);
        if !(1..=hidden).contains(&dense_size) {
            return Err(Error::usage(
                format!("a dense vector of {dense_size} values"),
                format!("ask for 1 to {hidden}"),
            ));
        }
        Ok(OutputSizes {
            sparse,
            dense: dense.then_some(dense_size),
            colbert: match self.spec.head {
                Head::TokenWeights(head) if colbert => head.colbert_size,
                Head::TokenWeights(_) | Head::Splade(_) => None,
            },
        })
    }

    fn compute(&self, batch: &PackedBatch, want: Want) -> Result<Encoded> {
        let mut engine = self.engines.take();
        let engine: &mut dyn Engine = engine.as_mut();
        if !self.description.gpus.is_empty() {
            return engine.encode(batch, want);
        }
        self.on_workers(|| engine.encode(batch, want))
    }

    /// Runs `work` on the worker threads and waits for it.
    fn on_workers<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if rayon::current_thread_index().is_none() {
            return self.workers.install(work);
        }
        // A thread of the caller's own rayon pool would take up other tasks while it waits, perhaps one
        // that calls this encoder again and waits for itself: let another thread do the waiting.
        let waiter = || self.workers.install(work);
        thread::scope(|scope| scope.spawn(waiter).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// An encoder with checked options: the steps from text to rows.
pub(crate) struct Job<'a> {
    encoder: &'a Encoder,
    prompt: &'a str,
    max_length: usize,
    pool_special: bool,
    outputs: OutputSizes,
    pruning: Pruning,
}

impl Job<'_> {
    pub(crate) fn tokenize<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Vec<Result<TokenSequence>> {
        let tokenizer = &self.encoder.tokenizer;
        self.encoder.on_workers(|| {
            if self.prompt.is_empty() {
                tokenizer.encode_batch(texts, self.max_length)
            } else {
                let prompted: Vec<String> = texts
                    .iter()
                    .map(|text| format!("{}{}", self.prompt, text.as_ref()))
                    .collect();
                tokenizer.encode_batch(&prompted, self.max_length)
            }
        })
    }

    pub(crate) fn packer(&self) -> Packer {
        Packer::new(self.encoder.batch_tokens, self.pool_special)
    }

    /// What the engine need not give, since it would be dropped.
    fn want(&self, positions: bool) -> Want {
        let Pruning {
            excluded,
            min_weight,
            top_k,
        } = &self.pruning;
        Want {
            outputs: self.outputs,
            positions,
            min_weight: *min_weight,
            // Ids are excluded before the heaviest of the others are chosen.
            top_k: top_k.filter(|_| excluded.is_empty()),
        }
    }

    pub(crate) fn encode_batch(&self, batch: &PackedBatch) -> Result<Embeddings> {
        let mut embeddings = self.encoder.compute(batch, self.want(false))?.embeddings;
        embeddings.sparse = embeddings.sparse.map(|rows| self.pruning.apply(rows));
        Ok(embeddings)
    }
}
