//! A stream of documents through tokeniser, engine and writer, all three at work at once.
//!
//! ```text
//! documents -> [reader + tokeniser] -> token ids -> [packer] -> batches -> [engines] -> rows -> [writer: the caller]
//!                thread, all cores   channel of 2    thread      dealt    threads   channel of 2
//! ```
//!
//! A machine without a GPU has one engine, a GPU has two. The channels are bounded, so memory does not
//! grow with the corpus. Every stage keeps the order of the documents. Where a document cannot be read
//! or tokenised, all before it are still written; where the engine fails, all of the batches before.

#![forbid(unsafe_code)]

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::deal::deal;
use crate::embeddings::Embeddings;
use crate::encoder::{EncodeOptions, Encoder, Job};
use crate::error::{Category, Error, Result};
use crate::input::{Document, DocumentId};
use crate::pack::{PackedBatch, Packer};
use crate::tokenize::TokenSequence;
use crate::write::RowWriter;

/// Documents tokenised at a time: enough for all cores, few enough to start the engine soon.
const CHUNK_DOCUMENTS: usize = 128;
/// Bytes of text after which a chunk is closed early.
const CHUNK_BYTES: usize = 1 << 18;

/// Items that wait between two stages.
const CHANNEL: usize = 2;

/// How often the writer looks whether it was told to stop.
const STOP_POLL: Duration = Duration::from_millis(50);

const OPTIONS_WERE_CHECKED: &str = "options are checked before a stage starts. This is a bug";

/// What a run did, or has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Documents written.
    pub documents: u64,
    /// Their tokens, special ones included, after truncation.
    pub tokens: u64,
    /// Documents that lost their end because they were too long.
    pub truncated: u64,
    /// Documents whose row is empty.
    pub empty: u64,
    /// Weights written.
    pub non_zeros: u64,
    /// Time since the first document was asked for.
    pub elapsed: Duration,
}

impl Summary {
    /// Documents a second.
    pub fn documents_per_second(&self) -> f64 {
        self.documents as f64 / self.elapsed.as_secs_f64()
    }

    /// Tokens a second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.elapsed.as_secs_f64()
    }

    /// Mean number of weights a document; 0 without documents.
    pub fn non_zeros_per_document(&self) -> f64 {
        self.non_zeros as f64 / self.documents.max(1) as f64
    }

    fn add(&mut self, batch: &RowBatch) {
        self.documents += batch.ids.len() as u64;
        self.tokens += batch.tokens as u64;
        self.truncated += batch.truncated;
        if let Some(rows) = &batch.embeddings.sparse {
            self.empty += rows.iter().filter(|row| row.indices.is_empty()).count() as u64;
            self.non_zeros += rows.non_zeros() as u64;
        }
    }
}

/// Tokenised documents, up to the first that could not be.
struct Chunk {
    documents: Vec<(DocumentId, TokenSequence)>,
    failure: Option<Error>,
}

/// Finished documents.
struct RowBatch {
    ids: Vec<DocumentId>,
    embeddings: Embeddings,
    tokens: usize,
    truncated: u64,
}

/// Encodes a stream of documents and writes one row for each, in their order.
///
/// `progress` is called after every batch. When `stop` becomes true the run ends with an error of
/// [`Category::Interrupted`] after at most a batch. `writer` is left open either way: finish it, or
/// keep what it has.
///
/// The stages run in threads that end when the documents do, or at the first error. A thread that is
/// blocked in `documents` when the run is stopped ends after the next one.
///
/// # Panics
///
/// If `documents` panics.
///
/// # Errors
///
/// The first one in the order of the documents: theirs, the engine's, or the writer's.
pub fn encode_documents<D>(
    encoder: &Arc<Encoder>,
    options: &EncodeOptions,
    documents: D,
    writer: &mut dyn RowWriter,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Summary),
) -> Result<Summary>
where
    D: IntoIterator<Item = Result<Document>> + Send + 'static,
{
    encoder.job(options)?; // Options without sense are found before a thread starts.
    let start = Instant::now();
    let (chunk_sender, chunks) = sync_channel(CHANNEL);
    let (row_sender, batches) = sync_channel(CHANNEL);
    let reader = spawn("lexpeak-read", {
        let (encoder, options) = (encoder.clone(), options.clone());
        move || read_and_tokenize(documents, &encoder, &options, &chunk_sender)
    })?;
    let engine = spawn("lexpeak-encode", {
        let (encoder, options) = (encoder.clone(), options.clone());
        move || pack_and_encode(chunks, &encoder, &options, &row_sender)
    })?;

    let mut summary = Summary::default();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        match batches.recv_timeout(STOP_POLL) {
            Ok(batch) => {
                let batch: RowBatch = batch?;
                for (id, embedding) in batch.ids.iter().zip(batch.embeddings.iter()) {
                    writer.write(id, embedding)?;
                }
                summary.add(&batch);
                summary.elapsed = start.elapsed();
                progress(&summary);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // A stage that panicked has ended like one that is done, and must not be taken for it.
    for stage in [reader, engine] {
        stage.join().unwrap_or_else(|panic| resume_unwind(panic));
    }
    summary.elapsed = start.elapsed();
    Ok(summary)
}

fn spawn(name: &str, stage: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(stage);
    thread.map_err(|e| {
        let remedy = "allow this process more threads or memory";
        Error::io(Category::Unsupported, name, "start a thread", e, remedy)
    })
}

// A stage that cannot send has lost its receiver: the run is over, and the stage ends.

fn read_and_tokenize<D>(
    documents: D,
    encoder: &Encoder,
    options: &EncodeOptions,
    chunks: &SyncSender<Chunk>,
) where
    D: IntoIterator<Item = Result<Document>>,
{
    let job = encoder.job(options).expect(OPTIONS_WERE_CHECKED);
    let mut documents = documents.into_iter();
    loop {
        let (mut ids, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut failure = None;
        let mut last = false;
        while !last && ids.len() < CHUNK_DOCUMENTS && bytes < CHUNK_BYTES {
            match documents.next() {
                Some(Ok(Document { id, text })) => {
                    bytes += text.len();
                    ids.push(id);
                    texts.push(text);
                }
                Some(Err(error)) => {
                    failure = Some(error);
                    last = true;
                }
                None => last = true,
            }
        }
        let chunk = tokenize(&job, ids, &texts, failure);
        let failed = chunk.failure.is_some();
        if chunks.send(chunk).is_err() || failed || last {
            return;
        }
    }
}

/// Tokenises documents as far as they can be; `failure` is what came after them in the input.
fn tokenize(
    job: &Job<'_>,
    ids: Vec<DocumentId>,
    texts: &[String],
    failure: Option<Error>,
) -> Chunk {
    let mut documents = Vec::with_capacity(ids.len());
    for (id, sequence) in ids.into_iter().zip(job.tokenize(texts)) {
        match sequence {
            Ok(sequence) => documents.push((id, sequence)),
            Err(error) => {
                let failure = Some(error.of_document(id.as_json()));
                return Chunk { documents, failure };
            }
        }
    }
    Chunk { documents, failure }
}

/// The documents of a batch: ids, and whether they were truncated.
type Packed = Vec<(DocumentId, bool)>;

fn pack_and_encode(
    chunks: Receiver<Chunk>,
    encoder: &Encoder,
    options: &EncodeOptions,
    rows: &SyncSender<Result<RowBatch>>,
) {
    let job = encoder.job(options).expect(OPTIONS_WERE_CHECKED);
    deal(
        encoder.hands(),
        |give| pack(chunks, job.packer(), give),
        |packed: Result<(PackedBatch, Packed)>| {
            let (batch, documents) = packed?;
            encode(&job, &batch, documents)
        },
        |encoded| {
            let failed = encoded.is_err();
            rows.send(encoded).is_ok() && !failed
        },
    );
}

/// Packs documents until nobody wants more batches; what a chunk failed with comes after its documents.
fn pack(
    chunks: Receiver<Chunk>,
    mut packer: Packer,
    give: &mut dyn FnMut(Result<(PackedBatch, Packed)>) -> bool,
) {
    let mut packed = Packed::new(); // the documents in the packer
    let mut failure = None;
    for chunk in chunks {
        for (id, sequence) in chunk.documents {
            if let Some(batch) = packer.push(&sequence)
                && !give(Ok((batch, std::mem::take(&mut packed))))
            {
                return;
            }
            packed.push((id, sequence.truncated));
        }
        failure = chunk.failure;
        if failure.is_some() {
            break;
        }
    }
    let last = packer.finish().map(|batch| Ok((batch, packed)));
    last.into_iter().chain(failure.map(Err)).all(give);
}

fn encode(job: &Job<'_>, batch: &PackedBatch, documents: Packed) -> Result<RowBatch> {
    let embeddings = job
        .encode_batch(batch)
        .map_err(|error| match documents.as_slice() {
            [(id, _)] => error.of_document(id.as_json()),
            [(first, _), .., (last, _)] => {
                error.of_document(format!("{} to {}", first.as_json(), last.as_json()))
            }
            [] => error,
        })?;
    Ok(RowBatch {
        truncated: documents.iter().filter(|(_, truncated)| *truncated).count() as u64,
        ids: documents.into_iter().map(|(id, _)| id).collect(),
        tokens: batch.tokens(),
        embeddings,
    })
}
