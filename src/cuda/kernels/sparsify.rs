//! Launches `kernels/sparsify.cu`: pooled logits or weights to sparse rows.

use cudarc::driver::{CudaView, CudaViewMut, PushKernelArg};

use super::function::NULL;
use super::{Cost, Function, a_block_a_row, check_len};
use crate::cuda::{Gpu, launch_shape};
use crate::error::{Error, Result};
use crate::model::{Activation, Pooling, SpladeHead};

/// The sparse row of every sequence: its weights above a threshold, ids ascending.
#[derive(Debug)]
pub struct Sparsify {
    kernel: Function,
    pooling: Pooling,
}

/// Operands of [`Sparsify`]; S sequences, V terms, rows of [`Sparsify::stride`] of V.
#[derive(Debug)]
pub struct SparsifyArgs<'a> {
    /// S, stride. Max pooling: the largest dot product, without bias. Sum pooling: the sum of weights.
    pub pooled: CudaView<'a, f32>,
    /// stride; sum pooling does not look at it.
    pub bias: CudaView<'a, f32>,
    /// What becomes of `positions`, if they are wanted.
    pub positions: Option<Positions<'a>>,
    /// V, at most 262,144.
    pub terms: usize,
    /// Weights above it are kept; those of 0 never are.
    pub threshold: f32,
    /// 1: entries so far, written or not: those of these rows are added, and written behind the ones before.
    pub total: CudaViewMut<'a, u32>,
    /// S: where each row begins in `ids`.
    pub starts: CudaViewMut<'a, u32>,
    /// S: entries of each row. A row that would end past the capacity is not written.
    pub counts: CudaViewMut<'a, u32>,
    /// S: 1 where a weight is not finite or is negative, which no sound model computes, else 0.
    pub damaged: CudaViewMut<'a, u32>,
    /// capacity
    pub ids: CudaViewMut<'a, u32>,
    /// capacity
    pub values: CudaViewMut<'a, f32>,
}

/// Positions of the pooled values, which go with the kept ones.
#[derive(Debug)]
pub struct Positions<'a> {
    /// S, stride
    pub pooled: CudaView<'a, u32>,
    /// capacity
    pub kept: CudaViewMut<'a, u32>,
}

impl Sparsify {
    /// Loads the kernel for a head.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu, head: SpladeHead) -> Result<Self> {
        let entry = match (head.pooling, head.activation) {
            (Pooling::Max, Activation::Relu) => "sparsify_max_relu",
            (Pooling::Max, Activation::Log1pRelu) => "sparsify_max_log1p_relu",
            (Pooling::Sum, _) => "sparsify_sum",
        };
        Ok(Self {
            kernel: Function::load_entry(gpu, "sparsify", entry)?,
            pooling: head.pooling,
        })
    }

    /// Values from one row of `pooled` to the next: V and some padding.
    pub fn stride(terms: usize) -> usize {
        terms.next_multiple_of(launch_shape::sparsify::STRIDE_TERMS as usize)
    }

    /// What it takes for `rows` rows of which `entries` entries are kept.
    pub fn cost(&self, rows: usize, terms: usize, entries: usize, positions: bool) -> Cost {
        let (rows, terms, entries) = (rows as u64, terms as u64, entries as u64);
        // start, count and flag of a row; id and weight of an entry, or a position read and written besides.
        let (row, entry) = (12, if positions { 16 } else { 8 });
        let (bias, adds) = match self.pooling {
            Pooling::Max => (4 * terms, rows * terms),
            Pooling::Sum => (0, 0),
        };
        Cost {
            bytes: rows * (4 * terms + row) + entries * entry + bias,
            flops: adds,
        }
    }

    /// Launches it for all rows of `counts`.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: SparsifyArgs<'_>) -> Result<()> {
        let SparsifyArgs {
            pooled,
            bias,
            positions,
            terms,
            threshold,
            mut total,
            mut starts,
            mut counts,
            mut damaged,
            mut ids,
            mut values,
        } = args;
        let name = self.kernel.name();
        let rows = counts.len();
        check_terms(name, rows, terms)?;
        let stride = Self::stride(terms);
        let capacity = ids.len();
        check_len(name, "pooled", pooled.len(), rows * stride)?;
        check_len(name, "bias", bias.len(), stride)?;
        check_len(name, "total", total.len(), 1)?;
        check_len(name, "starts", starts.len(), rows)?;
        check_len(name, "damaged", damaged.len(), rows)?;
        check_len(name, "values", values.len(), capacity)?;
        if let Some(Positions { pooled, kept }) = &positions {
            check_len(name, "pooled positions", pooled.len(), rows * stride)?;
            check_len(name, "kept positions", kept.len(), capacity)?;
        }
        let (pooled_positions, mut kept_positions) = positions
            .map(|Positions { pooled, kept }| (pooled, kept))
            .unzip();
        if rows == 0 {
            return Ok(());
        }
        // Weights are above 0, so the threshold is not below.
        let (width, threshold) = (terms as i32, threshold.max(0.0));
        // More cannot be reached: the total is within u32.
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        // sparsify(const float* pooled, const float* bias, const unsigned* positions_in, int terms, float threshold,
        //          unsigned capacity, unsigned* total, unsigned* starts, unsigned* counts, unsigned* damaged,
        //          unsigned* ids, float* values, unsigned* positions)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch.arg(&pooled).arg(&bias);
        match &pooled_positions {
            Some(positions) => launch.arg(positions),
            None => launch.arg(&NULL),
        };
        launch
            .arg(&width)
            .arg(&threshold)
            .arg(&capacity)
            .arg(&mut total)
            .arg(&mut starts)
            .arg(&mut counts)
            .arg(&mut damaged)
            .arg(&mut ids)
            .arg(&mut values);
        match &mut kept_positions {
            Some(positions) => launch.arg(positions),
            None => launch.arg(&NULL),
        };
        // SAFETY: the arguments are those of the entry point, in its order. pooled and its positions hold rows rows of
        // stride values, bias one, the figures of rows an element a row, and the grid has a block a row; terms is within
        // what the block's bits hold. ids, values and kept positions hold capacity elements, and no block writes past
        // them. What is written is borrowed mutably and so overlaps nothing. Whoever passes views of an arena begins them
        // at multiples of 16 bytes: others the GPU refuses when it runs the kernel. All operands outlive the kernel:
        // freeing them is ordered behind it on the stream.
        let launched =
            unsafe { launch.launch(a_block_a_row(rows, launch_shape::sparsify::THREADS)) };
        self.kernel.outcome(launched, || {
            format!("{rows} rows of {terms}, {capacity} entries")
        })
    }
}

/// A row's bits fit in shared memory, and the entries of all rows are counted in 32 bits.
fn check_terms(kernel: &str, rows: usize, terms: usize) -> Result<()> {
    let most = launch_shape::sparsify::MAX_TERMS as usize;
    let wrong =
        |problem, remedy: &str| Err(Error::device(format!("kernel {kernel}"), problem, remedy));
    if terms == 0 || terms > most {
        return wrong(
            format!("a vocabulary of {terms} terms"),
            &format!("it must have 1 to {most}"),
        );
    }
    if rows * terms > u32::MAX as usize {
        return wrong(
            format!("{rows} rows of {terms} terms at once"),
            "they must be fewer than 2^32 together: pass fewer rows",
        );
    }
    Ok(())
}
