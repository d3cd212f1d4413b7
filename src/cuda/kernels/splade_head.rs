//! Launches `kernels/splade_head.cu`: the vocabulary projection, pooled over the tokens of each document.

use cudarc::driver::{CudaView, CudaViewMut, LaunchConfig, PushKernelArg};

use super::{Cost, Function, Normed, Sparsify, check_len};
use crate::cuda::Gpu;
use crate::cuda::launch_shape::splade_head as shape;
use crate::error::{Error, Result};
use crate::model::{Activation, Pooling};

/// `pooled[s, v] =` maximum or sum over the tokens of document s; see the kernel.
#[derive(Debug)]
pub struct SpladeHead {
    kernel: Function,
    pooling: Pooling,
    activation: Activation,
    positions: bool,
    shared_bytes: u32,
}

/// The pooled rows of some documents as columns of the product, in groups of 8 that belong to one document.
///
/// ```text
/// documents   rows 4 7 9 | none | rows 12 .. 20
/// columns     4 7 9 9 9 9 9 9 | 12 13 14 15 16 17 18 19 | 20 20 20 20 20 20 20 20
/// groups      document 0,     | document 1              | document 1,
///             3 real, last    | 8 real                  | 1 real, last
/// ```
///
/// Documents without a row have no column: they are left out of the numbering (drawn: the third is document 1).
/// Spans cut the columns between documents; a block of the kernel works on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadColumns {
    columns: Vec<u32>,
    groups: Vec<u32>,
    spans: Vec<u32>,
    documents: usize,
    /// One more than the largest row.
    rows: usize,
}

/// Columns of a span, at least: a few tiles, so that little of the last one is empty.
const SPAN_COLUMNS: usize = 8 * shape::BLOCK_TOKENS as usize;

/// Marks of a group, see `Group` in the kernel.
const LAST: u32 = 1 << 31;
const REAL_SHIFT: u32 = 28;
const MOST_DOCUMENTS: usize = 1 << REAL_SHIFT;

impl Default for HeadColumns {
    fn default() -> Self {
        Self::new()
    }
}

impl HeadColumns {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            columns: Vec::new(),
            groups: Vec::new(),
            spans: vec![0],
            documents: 0,
            rows: 0,
        }
    }

    /// Appends the document whose tokens are `rows` of the hidden states; one without rows is left out.
    pub fn push(&mut self, rows: &[u32]) {
        let document = self.documents as u32;
        for group in rows.chunks(shape::GROUP as usize) {
            let last = *group.last().expect("chunks are not empty");
            self.columns.extend_from_slice(group);
            let columns = self.columns.len().next_multiple_of(shape::GROUP as usize);
            self.columns.resize(columns, last);
            let rows = group.iter().map(|&row| row as usize + 1);
            self.rows = rows.fold(self.rows, usize::max);
            self.groups
                .push(document | (group.len() as u32 - 1) << REAL_SHIFT);
        }
        let Some(last) = self.groups.last_mut().filter(|_| !rows.is_empty()) else {
            return;
        };
        *last |= LAST;
        self.documents += 1;
        // The last span ends here, or goes on if it is short.
        let end = self.columns.len() as u32;
        match self.spans.as_slice() {
            [.., before, open] if ((open - before) as usize) < SPAN_COLUMNS => {
                *self.spans.last_mut().expect("it has two elements") = end;
            }
            _ => self.spans.push(end),
        }
    }

    /// Columns, groups and spans: the words that the kernel reads, one part behind the other.
    pub fn words(&self) -> [&[u32]; 3] {
        [&self.columns, &self.groups, &self.spans]
    }

    /// S: documents with a row.
    pub fn documents(&self) -> usize {
        self.documents
    }

    /// Rows of the hidden states by column, `[C]`.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// A word for each 8 columns, `[C / 8]`.
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Where spans begin and the last ends, `[B + 1]`.
    pub fn spans(&self) -> &[u32] {
        &self.spans
    }
}

/// [`HeadColumns`] with their copy on the GPU.
#[derive(Debug)]
pub struct DeviceColumns<'a> {
    host: &'a HeadColumns,
    words: CudaView<'a, u32>,
}

impl<'a> DeviceColumns<'a> {
    /// Columns with their copy on the GPU.
    ///
    /// # Safety
    ///
    /// `words` holds the [words](HeadColumns::words) of `host` when a kernel runs.
    pub unsafe fn new(host: &'a HeadColumns, words: CudaView<'a, u32>) -> Self {
        Self { host, words }
    }

    /// S: documents with a row.
    pub fn documents(&self) -> usize {
        self.host.documents
    }
}

/// Operands of [`SpladeHead`]; T tokens, H hidden size, V vocabulary, S documents, C columns, B spans, and W the
/// [stride](Sparsify::stride) of a row.
#[derive(Debug)]
pub struct SpladeHeadArgs<'a> {
    /// T, H
    pub hidden: CudaView<'a, Normed>,
    /// V, H
    pub decoder: CudaView<'a, Normed>,
    /// V
    pub bias: CudaView<'a, f32>,
    /// The documents.
    pub columns: DeviceColumns<'a>,
    /// S, W
    pub pooled: CudaViewMut<'a, f32>,
    /// S, W, where the kernel was loaded for them, and only then.
    pub positions: Option<CudaViewMut<'a, u32>>,
}

impl SpladeHead {
    /// Loads the kernel for a pooling; `positions` asks for the token that won each maximum, too.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(
        gpu: &Gpu,
        pooling: Pooling,
        activation: Activation,
        positions: bool,
    ) -> Result<Self> {
        let (entry, shared_bytes) = match (pooling, positions) {
            (Pooling::Max, false) => ("splade_head_max", shape::SMEM_BYTES),
            (Pooling::Max, true) => ("splade_head_max_positions", shape::SMEM_BYTES_POSITIONS),
            (Pooling::Sum, false) => ("splade_head_sum", shape::SMEM_BYTES),
            (Pooling::Sum, true) => ("splade_head_sum_positions", shape::SMEM_BYTES_POSITIONS),
        };
        let kernel = Function::load_for::<Normed>(gpu, "splade_head", entry)?;
        kernel.allow_shared_memory(shared_bytes)?;
        Ok(Self {
            kernel,
            pooling,
            activation,
            positions,
            shared_bytes,
        })
    }

    /// What a launch costs.
    pub fn cost(&self, host: &HeadColumns, vocabulary: usize, hidden: usize) -> Cost {
        let [v, h, s] = [vocabulary, hidden, host.documents].map(|size| size as u64);
        let real: u64 = host
            .groups
            .iter()
            .map(|group| u64::from(group >> REAL_SHIFT & 7) + 1)
            .sum();
        let a_term = if self.positions { 8 } else { 4 };
        Cost {
            bytes: (v * h + real * h) * size_of::<Normed>() as u64 + a_term * s * v,
            flops: 2 * v * h * real,
        }
    }

    /// Launches it for all documents.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: SpladeHeadArgs<'_>) -> Result<()> {
        let SpladeHeadArgs {
            hidden,
            decoder,
            bias,
            columns: DeviceColumns { host, words },
            mut pooled,
            mut positions,
        } = args;
        let name = self.kernel.name();
        let vocabulary = bias.len();
        let depth = decoder.len() / vocabulary.max(1);
        let width = Sparsify::stride(vocabulary);
        if depth == 0 || !depth.is_multiple_of(8) || i32::try_from(width).is_err() {
            return Err(Error::device(
                format!("kernel {name}"),
                format!("a vocabulary of {vocabulary} and a hidden size of {depth}"),
                "the hidden size must be a multiple of 8: pad the weights with zeros",
            ));
        }
        check_len(name, "decoder", decoder.len(), vocabulary * depth)?;
        check_len(name, "hidden", hidden.len(), hidden.len() / depth * depth)?;
        let lens = host.words().map(<[u32]>::len);
        check_len(name, "columns", words.len(), lens.iter().sum())?;
        check_len(name, "pooled", pooled.len(), host.documents * width)?;
        let wanted = if self.positions { pooled.len() } else { 0 };
        let given = positions.as_ref().map_or(0, CudaViewMut::len);
        check_len(name, "positions", given, wanted)?;
        if hidden.len() / depth < host.rows || host.documents > MOST_DOCUMENTS {
            return Err(Error::device(
                format!("kernel {name}"),
                format!(
                    "{} documents with rows up to {} of {} hidden states",
                    host.documents,
                    host.rows,
                    hidden.len() / depth
                ),
                "pass all hidden states that the columns name",
            ));
        }
        if host.documents == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (
                host.spans.len() as u32 - 1,
                vocabulary.div_ceil(shape::BLOCK_TERMS as usize) as u32,
                1,
            ),
            block_dim: (shape::THREADS, 1, 1),
            shared_mem_bytes: self.shared_bytes,
        };
        let sizes = [vocabulary, width, depth].map(|size| size as i32);
        let twice = i32::from(self.activation == Activation::Log1pRelu);
        // splade_head(const half* hidden, const half* decoder, [const float* bias,] const uint32_t* columns,
        //             const uint32_t* groups, const uint32_t* spans, float* pooled, [uint32_t* positions,]
        //             int vocabulary, int width, int depth [, int twice])
        let columns = words.slice(..lens[0]);
        let groups = words.slice(lens[0]..lens[0] + lens[1]);
        let spans = words.slice(lens[0] + lens[1]..);
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch.arg(&hidden).arg(&decoder);
        if self.pooling == Pooling::Sum {
            launch.arg(&bias);
        }
        launch
            .arg(&columns)
            .arg(&groups)
            .arg(&spans)
            .arg(&mut pooled);
        if let Some(positions) = &mut positions {
            launch.arg(positions);
        }
        sizes.iter().for_each(|size| {
            launch.arg(size);
        });
        if self.pooling == Pooling::Sum {
            launch.arg(&twice);
        }
        // SAFETY: the arguments are those of the entry point, in its order: bias and activation go with the sum,
        // positions where it was loaded for them. Columns name rows of hidden that exist, groups documents with a row of
        // pooled, and spans ascend to the number of columns: HeadColumns is built so, and the copies have its lengths.
        // pooled and positions are borrowed mutably and so overlap nothing. All operands outlive the kernel: freeing
        // them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(config) };
        self.kernel.outcome(launched, || {
            format!(
                "{} documents of {} columns, {vocabulary} terms, hidden size {depth}",
                host.documents,
                host.columns.len()
            )
        })
    }
}
