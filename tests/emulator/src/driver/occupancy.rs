//! How many blocks fit on a multiprocessor: from threads and shared memory. Registers are given by ptxas, which the stand-in
//! never runs, so they limit nothing here: a GPU may fit fewer.

use std::ffi::{c_int, c_uint, c_void};

use super::entry::{enter_context, input, out};
use super::error::{Code, Failure, misuse};
use super::function::{Function, static_shared};
use super::launch::Shape;
use super::launch_calls::Configuration;
use super::model::{Model, SYSTEM_SHARED};
use super::state::Driver;
use super::table::Handle;
use crate::exec::Dimensions;

/// Shared memory is given in multiples of this.
const SHARED_UNIT: u32 = 128;

/// Most blocks of a cluster that every device can run.
const PORTABLE_CLUSTER: u32 = 8;

/// Blocks of `threads` threads that fit on a multiprocessor.
pub fn blocks_at_once(
    function: &Function,
    threads: u32,
    dynamic_shared: u32,
    model: &Model,
) -> u32 {
    if threads == 0 || threads > function.max_threads() {
        return 0;
    }
    let by_threads = model.threads_per_multiprocessor / threads.next_multiple_of(32);
    let shared = static_shared(&function.kernel).saturating_add(dynamic_shared);
    if shared > model.shared_opt_in {
        return 0;
    }
    let by_shared =
        model.shared_per_multiprocessor / (shared + SYSTEM_SHARED).next_multiple_of(SHARED_UNIT);
    by_threads
        .min(by_shared)
        .min(model.blocks_per_multiprocessor)
}

/// Most dynamic shared memory a block with which `blocks` blocks fit on a multiprocessor.
fn dynamic_shared_for(function: &Function, blocks: u32, model: &Model) -> u32 {
    let share = model.shared_per_multiprocessor / blocks / SHARED_UNIT * SHARED_UNIT;
    share
        .min(model.shared_opt_in + SYSTEM_SHARED)
        .saturating_sub(SYSTEM_SHARED + static_shared(&function.kernel))
}

/// Checks a launch's clusters.
pub fn check_cluster(
    function: &Function,
    dimensions: &Dimensions,
    model: &Model,
) -> Result<(), Failure> {
    let kernel = &function.kernel;
    let refuse =
        |code, message: String| Err(misuse(code, format!("kernel {}: {message}", kernel.name)));
    let Some(shape) = dimensions.cluster.or(kernel.cluster) else {
        return Ok(());
    };
    if model.capability.numbers().0 < 9 && shape != [1; 3] {
        return refuse(
            Code::InvalidClusterSize,
            "clusters need compute capability 9.0".into(),
        );
    }
    if kernel.cluster.is_some_and(|own| own != shape) {
        return refuse(
            Code::InvalidClusterSize,
            format!(
                "clusters of {shape:?} blocks, but it was compiled for {:?}",
                kernel.cluster
            ),
        );
    }
    let blocks = shape.iter().map(|&side| u64::from(side)).product::<u64>();
    if blocks == 0
        || blocks > u64::from(PORTABLE_CLUSTER)
        || (0..3).any(|axis| !dimensions.grid[axis].is_multiple_of(shape[axis]))
    {
        let message = format!(
            "clusters of {shape:?} blocks in a grid of {:?}: 1 to {PORTABLE_CLUSTER} blocks that divide the grid",
            dimensions.grid
        );
        return refuse(Code::InvalidClusterSize, message);
    }
    Ok(())
}

/// Leaves what `count` finds out about a function on its device.
///
/// # Safety
/// `result` is null or may be written.
unsafe fn answer<T>(
    name: &str,
    result: *mut T,
    function: *mut c_void,
    count: impl FnOnce(&Function, &Model) -> Result<T, Failure>,
) -> Code {
    enter_context(name, |driver, _| {
        // SAFETY: as promised by the caller.
        let result = unsafe { out(result) }?;
        let (function, model) = driver.function_and_model(function)?;
        result.write(count(function, model)?);
        Ok(())
    })
}

impl Driver {
    fn function_and_model(&self, function: *mut c_void) -> Result<(&Function, &Model), Failure> {
        let function = self.functions.get(Handle::from_raw(function))?;
        Ok((
            function,
            &self.devices[self.contexts.get(function.context)?.device].model,
        ))
    }
}

fn threads(block: c_int) -> Result<u32, Failure> {
    u32::try_from(block)
        .ok()
        .filter(|&threads| threads > 0)
        .ok_or_else(|| misuse(Code::InvalidValue, format!("blocks of {block} threads")))
}

fn bytes(shared: usize) -> u32 {
    u32::try_from(shared).unwrap_or(u32::MAX)
}

/// Blocks that fit on a multiprocessor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: *mut c_int,
    function: *mut c_void,
    block: c_int,
    shared: usize,
) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        answer(
            "cuOccupancyMaxActiveBlocksPerMultiprocessor",
            blocks,
            function,
            |function, model| {
                Ok(blocks_at_once(function, threads(block)?, bytes(shared), model) as c_int)
            },
        )
    }
}

/// As without flags: there are no caches to choose between.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: *mut c_int,
    function: *mut c_void,
    block: c_int,
    shared: usize,
    _flags: c_uint,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block, shared) }
}

/// Dynamic shared memory with which a number of blocks fits on a multiprocessor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    shared: *mut usize,
    function: *mut c_void,
    blocks: c_int,
    block: c_int,
) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        answer(
            "cuOccupancyAvailableDynamicSMemPerBlock",
            shared,
            function,
            |function, model| {
                let wanted = threads(blocks)?;
                if blocks_at_once(function, threads(block)?, 0, model) < wanted {
                    return Err(misuse(
                        Code::InvalidValue,
                        format!(
                            "{blocks} blocks of {block} threads do not fit on a multiprocessor"
                        ),
                    ));
                }
                Ok(dynamic_shared_for(function, wanted, model) as usize)
            },
        )
    }
}

/// The smallest grid that fills the device and the block size for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSize(
    grid: *mut c_int,
    block: *mut c_int,
    function: *mut c_void,
    shared_of: Option<unsafe extern "C" fn(c_int) -> usize>,
    shared: usize,
    limit: c_int,
) -> Code {
    enter_context("cuOccupancyMaxPotentialBlockSize", |driver, _| {
        // SAFETY: the driver interface demands pointers that may be written.
        let (grid, block) = unsafe { (out(grid)?, out(block)?) };
        let (function, model) = driver.function_and_model(function)?;
        let most = if limit > 0 {
            function.max_threads().min(limit as u32)
        } else {
            function.max_threads()
        };
        // From large to small, so that of equals the largest block wins.
        let sizes = (1..=most.div_ceil(32))
            .rev()
            .map(|warps| (warps * 32).min(most));
        let mut best = (0, 0, 0);
        for threads in sizes {
            // SAFETY: the program passed this function to be asked about block sizes. It answers from its argument alone.
            let dynamic =
                shared_of.map_or(shared, |shared_of| unsafe { shared_of(threads as c_int) });
            let blocks = blocks_at_once(function, threads, bytes(dynamic), model);
            if blocks * threads > best.0 {
                best = (blocks * threads, blocks, threads);
            }
        }
        let (_, blocks, threads) = best;
        if blocks == 0 {
            return Err(misuse(
                Code::InvalidValue,
                "no block of this kernel fits on a multiprocessor",
            ));
        }
        grid.write((blocks * model.multiprocessors) as c_int);
        block.write(threads as c_int);
        Ok(())
    })
}

/// As without flags.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    grid: *mut c_int,
    block: *mut c_int,
    function: *mut c_void,
    shared_of: Option<unsafe extern "C" fn(c_int) -> usize>,
    shared: usize,
    limit: c_int,
    _flags: c_uint,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuOccupancyMaxPotentialBlockSize(grid, block, function, shared_of, shared, limit) }
}

fn shape_of(configuration: *const Configuration) -> Result<Shape, Failure> {
    // SAFETY: the driver interface demands a pointer to the structure, with as many attributes as it says.
    unsafe { input(configuration)?.shape() }
}

/// Clusters that fit on the device, as if every multiprocessor could share a cluster with every other: a GPU may fit fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveClusters(
    clusters: *mut c_int,
    function: *mut c_void,
    configuration: *const Configuration,
) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        answer(
            "cuOccupancyMaxActiveClusters",
            clusters,
            function,
            |function, model| {
                let shape = shape_of(configuration)?;
                let dimensions = &shape.dimensions;
                check_cluster(function, dimensions, model)?;
                let blocks = blocks_at_once(
                    function,
                    dimensions.block.iter().product(),
                    dimensions.dynamic_shared,
                    model,
                );
                let of_cluster: u32 = dimensions
                    .cluster
                    .or(function.kernel.cluster)
                    .unwrap_or([1; 3])
                    .iter()
                    .product();
                Ok((blocks * model.multiprocessors / of_cluster) as c_int)
            },
        )
    }
}

/// Most blocks of a cluster.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialClusterSize(
    size: *mut c_int,
    function: *mut c_void,
    configuration: *const Configuration,
) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        answer(
            "cuOccupancyMaxPotentialClusterSize",
            size,
            function,
            |function, model| {
                let shape = shape_of(configuration)?;
                let dimensions = &shape.dimensions;
                let fits = blocks_at_once(
                    function,
                    dimensions.block.iter().product(),
                    dimensions.dynamic_shared,
                    model,
                ) > 0;
                let most = if model.capability.numbers().0 >= 9 {
                    PORTABLE_CLUSTER
                } else {
                    1
                };
                Ok(if fits { most as c_int } else { 0 })
            },
        )
    }
}
