//! A stream of documents through tokeniser, engine and writer, all three at work at once.
//!
//! ```text
//! documents -> [reader + tokeniser] -> packed batches -> [engine] -> rows -> [writer: the caller]
//!                thread, all cores      channel of 2      thread    channel of 2
//! ```
//!
//! The channels are bounded, so memory does not grow with the corpus. Every stage keeps the order of
//! the documents. Where one fails, everything before the failure is still written.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::encoder::{EncodeOptions, Encoder};
use crate::error::{Category, Error, Result};
use crate::input::{Document, DocumentId};
use crate::pack::{PackedBatch, Packer};
use crate::sparse::SparseRows;
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
        self.empty += batch
            .rows
            .iter()
            .filter(|row| row.indices.is_empty())
            .count() as u64;
        self.non_zeros += batch.rows.non_zeros() as u64;
    }
}

/// Tokenised documents.
struct Chunk {
    ids: Vec<DocumentId>,
    sequences: Vec<TokenSequence>,
}

/// Finished documents.
struct RowBatch {
    ids: Vec<DocumentId>,
    rows: SparseRows,
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
    spawn("lexpeak-read", {
        let (encoder, options) = (encoder.clone(), options.clone());
        move || read_and_tokenize(documents, &encoder, &options, &chunk_sender)
    })?;
    spawn("lexpeak-encode", {
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
                for (id, row) in batch.ids.iter().zip(batch.rows.iter()) {
                    writer.write(id, row)?;
                }
                summary.add(&batch);
                summary.elapsed = start.elapsed();
                progress(&summary);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    summary.elapsed = start.elapsed();
    Ok(summary)
}

fn spawn(name: &str, stage: impl FnOnce() + Send + 'static) -> Result<()> {
    match thread::Builder::new().name(name.to_owned()).spawn(stage) {
        Ok(_) => Ok(()),
        Err(e) => {
            let remedy = "allow this process more threads or memory";
            let action = "start a thread";
            Err(Error::io(Category::Unsupported, name, action, e, remedy))
        }
    }
}

// A stage that cannot send has lost its receiver: the run is over, and the stage ends.

fn read_and_tokenize<D>(
    documents: D,
    encoder: &Encoder,
    options: &EncodeOptions,
    chunks: &SyncSender<Result<Chunk>>,
) where
    D: IntoIterator<Item = Result<Document>>,
{
    let mut documents = documents.into_iter();
    loop {
        let (mut ids, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut failure = None;
        while ids.len() < CHUNK_DOCUMENTS && bytes < CHUNK_BYTES {
            match documents.next() {
                Some(Ok(Document { id, text })) => {
                    bytes += text.len();
                    ids.push(id);
                    texts.push(text);
                }
                Some(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                None => break,
            }
        }
        let last = failure.is_some() || ids.is_empty();
        if !ids.is_empty() {
            let sequences = encoder.job(options).and_then(|job| job.tokenize(&texts));
            let chunk = sequences.map(|sequences| Chunk { ids, sequences });
            if chunks.send(chunk).is_err() {
                return;
            }
        }
        if let Some(error) = failure {
            // Nobody listens if the run is over already.
            let _ = chunks.send(Err(error));
        }
        if last {
            return;
        }
    }
}

fn pack_and_encode(
    chunks: Receiver<Result<Chunk>>,
    encoder: &Encoder,
    options: &EncodeOptions,
    rows: &SyncSender<Result<RowBatch>>,
) {
    let job = match encoder.job(options) {
        Ok(job) => job,
        Err(error) => return drop(rows.send(Err(error))),
    };
    let mut packer = job.packer();
    let mut waiting: Vec<(DocumentId, bool)> = Vec::new(); // documents in the packer: id, truncated
    let encode = |batch: PackedBatch, documents: Vec<(DocumentId, bool)>| {
        let encoded = job.encode_batch(&batch).map(|encoded| RowBatch {
            truncated: documents.iter().filter(|(_, truncated)| *truncated).count() as u64,
            ids: documents.into_iter().map(|(id, _)| id).collect(),
            tokens: batch.tokens(),
            rows: encoded,
        });
        let failed = encoded.is_err();
        rows.send(encoded).is_ok() && !failed
    };
    let mut failure = None;
    'chunks: for chunk in chunks {
        match chunk {
            Ok(Chunk { ids, sequences }) => {
                for (id, sequence) in ids.into_iter().zip(sequences) {
                    if let Some(batch) = packer.push(&sequence)
                        && !encode(batch, std::mem::take(&mut waiting))
                    {
                        return;
                    }
                    waiting.push((id, sequence.truncated));
                }
            }
            Err(error) => {
                failure = Some(error);
                break 'chunks;
            }
        }
    }
    if let Some(batch) = Packer::finish(packer)
        && !encode(batch, waiting)
    {
        return;
    }
    if let Some(error) = failure {
        let _ = rows.send(Err(error));
    }
}
