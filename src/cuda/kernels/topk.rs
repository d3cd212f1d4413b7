//! Launches `kernels/topk.cu`: the k heaviest entries of every sparse row.

use cudarc::driver::{CudaView, CudaViewMut, PushKernelArg};

use super::function::NULL;
use super::{Cost, Function, a_block_a_row, check_len};
use crate::cuda::{Gpu, launch_shape};
use crate::error::{Error, Result};

/// Keeps the k heaviest entries of every row that [`Sparsify`](super::Sparsify) wrote, in place.
#[derive(Debug)]
pub struct TopK {
    kernel: Function,
}

/// Operands of [`TopK`]; S sequences.
#[derive(Debug)]
pub struct TopKArgs<'a> {
    /// S: where each row begins in `ids`.
    pub starts: CudaView<'a, u32>,
    /// S: entries of each row, before and after.
    pub counts: CudaViewMut<'a, u32>,
    /// capacity: ascending in each row.
    pub ids: CudaViewMut<'a, u32>,
    /// capacity: finite and above 0 in each row.
    pub values: CudaViewMut<'a, f32>,
    /// capacity, if there are positions.
    pub positions: Option<CudaViewMut<'a, u32>>,
    /// At most so many entries of a row are kept, at least 1: of equal ones those with the lowest ids.
    pub k: usize,
}

impl TopK {
    /// Loads the kernel.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu) -> Result<Self> {
        let kernel = Function::load_entry(gpu, "topk", "topk")?;
        Ok(Self { kernel })
    }

    /// What it takes for `rows` rows of which `kept` of `entries` entries are kept.
    pub fn cost(&self, rows: usize, entries: usize, kept: usize, positions: bool) -> Cost {
        let (rows, moved) = (rows as u64, (entries + kept) as u64);
        // start, and count before and after; id, weight and perhaps position.
        let (row, entry) = (12, if positions { 12 } else { 8 });
        Cost {
            bytes: rows * row + moved * entry,
            flops: 0,
        }
    }

    /// Launches it for all rows of `counts`.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, a `k` of 0, or a driver that refuses the launch.
    pub fn launch(&self, args: TopKArgs<'_>) -> Result<()> {
        let TopKArgs {
            starts,
            mut counts,
            mut ids,
            mut values,
            mut positions,
            k,
        } = args;
        let name = self.kernel.name();
        let (rows, capacity) = (counts.len(), ids.len());
        check_len(name, "starts", starts.len(), rows)?;
        check_len(name, "values", values.len(), capacity)?;
        if let Some(positions) = &positions {
            check_len(name, "positions", positions.len(), capacity)?;
        }
        if k == 0 {
            return Err(Error::device(
                format!("kernel {name}"),
                "the 0 heaviest entries of a row",
                "k is at least 1",
            ));
        }
        if rows == 0 {
            return Ok(());
        }
        // Neither can be reached: starts and counts are within u32.
        let within = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let (room, most) = (within(capacity), within(k));
        // topk(const unsigned* starts, unsigned* counts, unsigned* ids, float* values, unsigned* positions,
        //      unsigned capacity, unsigned k)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch
            .arg(&starts)
            .arg(&mut counts)
            .arg(&mut ids)
            .arg(&mut values);
        match &mut positions {
            Some(positions) => launch.arg(positions),
            None => launch.arg(&NULL),
        };
        launch.arg(&room).arg(&most);
        // SAFETY: the arguments are those of the entry point, in its order. starts and counts hold an element a row, and
        // the grid has a block a row; ids, values and positions hold capacity elements, and a row that would end past
        // them is left alone. What is written is borrowed mutably and so overlaps nothing. All operands outlive the
        // kernel: freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(a_block_a_row(rows, launch_shape::topk::THREADS)) };
        self.kernel.outcome(launched, || {
            format!("{rows} rows, {capacity} entries, k = {k}")
        })
    }
}
