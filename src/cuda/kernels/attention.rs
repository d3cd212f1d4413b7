//! Launches `kernels/attention.cu`: attention within each document of a packed batch.

use std::f64::consts::LOG2_E;
use std::marker::PhantomData;

use cudarc::driver::{CudaView, CudaViewMut, LaunchConfig, PushKernelArg};

use super::{Cost, Function, Storage, check_len};
use crate::cuda::Gpu;
use crate::cuda::launch_shape::attention as shape;
use crate::error::{Error, Result};

/// Words of a tile: where its document starts and ends, and its first row.
const TILE_WORDS: usize = 3;

/// `context[t, h, :] = softmax(q[t, h]·Kᵀ / √D)·V`, head by head; K and V are those of t's document.
#[derive(Debug)]
pub struct Attention<T> {
    kernel: Function,
    padded: usize,
    scale_log2e: f32,
    shared_bytes: u32,
    storage: PhantomData<T>,
}

/// The documents of a batch, cut into tiles of 64 query rows: each is a block's work in one head.
///
/// ```text
/// cu_seqlens   0                             70  70   75       the second document is empty
/// tiles        (0, 70, 0)      (0, 70, 64)       (70, 75, 70)  document from, to; first row
/// rows         0 .. 63         64 .. 69          70 .. 74
/// ```
///
/// Every row is in one tile, every tile in one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryTiles {
    words: Vec<u32>,
    tokens: usize,
    /// Pairs of tokens that see each other.
    pairs: u64,
}

/// [`QueryTiles`] with a copy on the GPU.
#[derive(Debug)]
pub struct DeviceTiles<'a> {
    tiles: &'a QueryTiles,
    words: CudaView<'a, u32>,
}

/// Operands of [`Attention`]; T tokens, D [padded](Attention::padded) head size.
#[derive(Debug)]
pub struct AttentionArgs<'a, T> {
    /// The documents that T consists of.
    pub tiles: DeviceTiles<'a>,
    /// T, 3, heads, D: queries, keys and values of a token side by side. Begins at a multiple of 16 bytes.
    pub qkv: CudaView<'a, T>,
    /// T, heads, D. Begins at a multiple of 16 bytes.
    pub context: CudaViewMut<'a, T>,
    /// Heads.
    pub heads: usize,
}

impl QueryTiles {
    /// Cuts the documents that begin and end at `cu_seqlens`.
    ///
    /// # Errors
    ///
    /// Offsets that do not begin at 0, descend, or reach 2³¹.
    pub fn cut(cu_seqlens: &[u32]) -> Result<Self> {
        let ascending = cu_seqlens.windows(2).all(|pair| pair[0] <= pair[1]);
        let (Some(0), Some(&tokens), true) = (cu_seqlens.first(), cu_seqlens.last(), ascending)
        else {
            return Err(not_offsets("do not ascend from 0"));
        };
        if i32::try_from(tokens).is_err() {
            return Err(not_offsets(&format!("end at {tokens}, not below 2^31")));
        }
        let documents = || cu_seqlens.windows(2).map(|pair| (pair[0], pair[1]));
        let words = documents().flat_map(|(start, end)| {
            let rows = (start..end).step_by(shape::TILE_ROWS as usize);
            rows.flat_map(move |row| [start, end, row])
        });
        Ok(Self {
            words: words.collect(),
            tokens: tokens as usize,
            pairs: documents()
                .map(|(start, end)| u64::from(end - start).pow(2))
                .sum(),
        })
    }

    /// N: number of tiles.
    pub fn len(&self) -> usize {
        self.words.len() / TILE_WORDS
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The tiles as the kernel reads them, `[N, 3]`.
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}

impl<'a> DeviceTiles<'a> {
    /// Tiles with their copy on the GPU.
    ///
    /// # Safety
    ///
    /// `words` holds the [words](QueryTiles::words) of `tiles` when a kernel runs.
    pub unsafe fn new(tiles: &'a QueryTiles, words: CudaView<'a, u32>) -> Self {
        Self { tiles, words }
    }
}

impl<T: Storage> Attention<T> {
    /// Loads the kernel for heads of that size; scores are scaled by the root of it.
    ///
    /// # Errors
    ///
    /// Heads larger than the largest compiled ones, a GPU too old for the kernel, or its driver fails.
    pub fn load(gpu: &Gpu, head_size: usize) -> Result<Self> {
        let (entry, padded, shared_bytes) = match head_size {
            1..=32 => ("attention_32", 32, shape::SMEM_BYTES32),
            33..=64 => ("attention_64", 64, shape::SMEM_BYTES64),
            65..=128 => ("attention_128", 128, shape::SMEM_BYTES128),
            _ => {
                return Err(Error::unsupported(
                    format!("kernel attention: head size {head_size} is not among 1 to 128"),
                    "128 is the largest compiled one: encode with this model on the CPU",
                ));
            }
        };
        let kernel = Function::load_for::<T>(gpu, "attention", entry)?;
        kernel.allow_shared_memory(shared_bytes)?;
        Ok(Self {
            kernel,
            padded,
            scale_log2e: (LOG2_E / (head_size as f64).sqrt()) as f32,
            shared_bytes,
            storage: PhantomData,
        })
    }

    /// D: the head size that operands have. What is over the true one is zeros in Q, K and V, and in the context.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// What a launch for these documents costs.
    pub fn cost(&self, tiles: &QueryTiles, heads: usize) -> Cost {
        let QueryTiles { tokens, pairs, .. } = *tiles;
        let width = (heads * self.padded) as u64;
        let values = 4 * tokens as u64 * width; // Q, K, V and the context
        Cost {
            bytes: values * size_of::<T>() as u64 + size_of_val(tiles.words()) as u64,
            flops: 4 * pairs * width,
        }
    }

    /// Launches it for all tokens and heads.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: AttentionArgs<'_, T>) -> Result<()> {
        let AttentionArgs {
            tiles: DeviceTiles { tiles, words },
            qkv,
            mut context,
            heads,
        } = args;
        let name = self.kernel.name();
        // The second dimension of a grid is at most that.
        if heads == 0 || u16::try_from(heads).is_err() {
            return Err(Error::device(
                format!("kernel {name}"),
                format!("{heads} heads"),
                "there must be 1 to 65535",
            ));
        }
        let width = heads * self.padded;
        check_len(name, "qkv", qkv.len(), tiles.tokens * 3 * width)?;
        check_len(name, "context", context.len(), tiles.tokens * width)?;
        if tiles.is_empty() {
            return Ok(());
        }
        let count = heads as i32;
        let config = LaunchConfig {
            grid_dim: (tiles.len() as u32, heads as u32, 1),
            block_dim: (shape::THREADS, 1, 1),
            shared_mem_bytes: self.shared_bytes,
        };
        // attention(const QueryTile* tiles, const T* qkv, T* context, int heads, float scale_log2e)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch
            .arg(&words)
            .arg(&qkv)
            .arg(&mut context)
            .arg(&count)
            .arg(&self.scale_log2e);
        // SAFETY: the arguments are those of the entry point, in its order. The tiles hold rows below their `tokens`, for
        // each of which qkv has 3 rows of heads of D values and context has one; the grid has a block for each tile and
        // head, with the shared memory that its size of heads takes. `context` is borrowed mutably and so overlaps
        // nothing. An operand that is not aligned is a fault that the next synchronisation reports. All outlive the
        // kernel: freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(config) };
        self.kernel.outcome(launched, || {
            let QueryTiles { tokens, .. } = tiles;
            format!("{tokens} tokens of {heads} heads of {}", self.padded)
        })
    }
}

fn not_offsets(problem: &str) -> Error {
    Error::device(
        "kernel attention",
        format!("the offsets of the documents {problem}"),
        "pass cu_seqlens of a packed batch",
    )
}
