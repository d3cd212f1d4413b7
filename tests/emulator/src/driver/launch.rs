//! Kernel launches: what a GPU's driver checks at the call, and the run when the stream gets there.

use std::ffi::c_void;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use super::context::Context;
use super::entry::thread;
use super::error::{Code, Failure, misuse};
use super::function::{Function, static_shared};
use super::launch_calls::KernelNodeParameters;
use super::model::MAX_THREADS_PER_BLOCK;
use super::occupancy::{blocks_at_once, check_cluster};
use super::parameters::parameters;
use super::record::LaunchRecord;
use super::state::Driver;
use super::stream::Stream;
use super::table::Handle;
use super::work::Work;
use crate::exec::{Dimensions, Limits, Options, launch};
use crate::isa::Kernel;

/// A checked launch with its parameters as they were at the call.
#[derive(Debug)]
pub struct KernelLaunch {
    kernel: Arc<Kernel>,
    context: Handle<Context>,
    device: usize,
    stream: u64,
    dimensions: Dimensions,
    parameters: Vec<u8>,
    limits: Limits,
    cooperative: bool,
    seed: u64,
    thread: u64,
}

/// What a program asks for besides the kernel and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Grid, block, cluster and dynamic shared memory.
    pub dimensions: Dimensions,
    /// All blocks are on the device at once.
    pub cooperative: bool,
}

impl Shape {
    /// A launch without attributes.
    pub fn new(grid: [u32; 3], block: [u32; 3], dynamic_shared: u32) -> Self {
        Shape {
            dimensions: Dimensions {
                grid,
                block,
                cluster: None,
                dynamic_shared,
            },
            cooperative: false,
        }
    }
}

impl Driver {
    /// Checks a launch as a GPU's driver does, where a failure leaves the context as it was.
    fn prepare(
        &self,
        function: Handle<Function>,
        shape: Shape,
        stream: Handle<Stream>,
        parameters: Vec<u8>,
    ) -> Result<KernelLaunch, Failure> {
        let function = self.functions.get(function)?;
        let context = self.streams.get(stream)?.context;
        if function.context != context {
            return Err(misuse(
                Code::InvalidHandle,
                "kernel and stream belong to different contexts",
            ));
        }
        let context_state = self.contexts.get(context)?;
        let model = &self.devices[context_state.device].model;
        check_shape(function, &shape.dimensions)?;
        check_cluster(function, &shape.dimensions, model)?;
        if shape.cooperative {
            let Dimensions {
                grid,
                block,
                dynamic_shared,
                ..
            } = shape.dimensions;
            let most = u64::from(blocks_at_once(
                function,
                block.iter().product(),
                dynamic_shared,
                model,
            )) * u64::from(model.multiprocessors);
            let blocks = grid.iter().map(|&side| u64::from(side)).product::<u64>();
            if blocks > most {
                let message = format!(
                    "{blocks} blocks of kernel {}, but only {most} fit on the device at once",
                    function.kernel.name
                );
                return Err(misuse(Code::CooperativeLaunchTooLarge, message));
            }
        }
        Ok(KernelLaunch {
            kernel: function.kernel.clone(),
            context,
            device: context_state.device,
            stream: if stream == context_state.legacy {
                0
            } else {
                stream.number()
            },
            dimensions: shape.dimensions,
            parameters,
            limits: Limits {
                shared: static_shared(&function.kernel) + function.max_dynamic_shared,
            },
            cooperative: shape.cooperative,
            seed: self.settings.seed,
            thread: thread(),
        })
    }

    /// Launches a kernel in a stream.
    ///
    /// # Safety
    /// `values` and `extra` are what `cuLaunchKernel` takes.
    pub unsafe fn launch(
        &mut self,
        function: *mut c_void,
        shape: Shape,
        stream: *mut c_void,
        current: Handle<Context>,
        (values, extra): (*mut *mut c_void, *mut *mut c_void),
    ) -> Result<(), Failure> {
        let stream = self.stream(stream, current)?;
        let function = Handle::from_raw(function);
        // SAFETY: as promised by the caller.
        let parameters =
            unsafe { parameters(&self.functions.get(function)?.kernel, values, extra) }?;
        let launch = self.prepare(function, shape, stream, parameters)?;
        self.submit(stream, Work::Launch(Arc::new(launch)))
            .map(drop)
    }

    /// A launch of a graph's kernel node with other parameters.
    ///
    /// # Safety
    /// The structure's pointers are what `cuLaunchKernel` takes.
    pub unsafe fn kernel_node(
        &self,
        node: &KernelNodeParameters,
        old: &KernelLaunch,
        current: Handle<Context>,
    ) -> Result<Arc<KernelLaunch>, Failure> {
        let function = Handle::from_raw(node.function);
        let mut shape = Shape::new(node.grid, node.block, node.shared);
        shape.dimensions.cluster = old.dimensions.cluster;
        shape.cooperative = old.cooperative;
        // SAFETY: as promised by the caller.
        let parameters = unsafe {
            parameters(
                &self.functions.get(function)?.kernel,
                node.values,
                node.extra,
            )
        }?;
        let legacy = self.contexts.get(current)?.legacy;
        Ok(Arc::new(KernelLaunch {
            stream: old.stream,
            ..self.prepare(function, shape, legacy, parameters)?
        }))
    }
}

fn check_shape(function: &Function, dimensions: &Dimensions) -> Result<(), Failure> {
    let Dimensions {
        grid,
        block,
        dynamic_shared,
        ..
    } = *dimensions;
    let kernel = &function.kernel;
    let refuse =
        |code, message: String| Err(misuse(code, format!("kernel {}: {message}", kernel.name)));
    let threads = block.iter().map(|&side| u64::from(side)).product::<u64>();
    if grid.contains(&0) || grid[0] > i32::MAX as u32 || grid[1] > 65_535 || grid[2] > 65_535 {
        return refuse(
            Code::InvalidValue,
            format!("a grid of {grid:?} blocks: 1 to 2147483647, 65535 and 65535 are possible"),
        );
    }
    let blocks = grid.iter().map(|&side| u64::from(side)).product::<u64>();
    if u32::try_from(blocks).is_err() {
        let message = format!("a grid of {grid:?}: the stand-in numbers blocks in 32 bits");
        return refuse(Code::InvalidValue, message);
    }
    if threads == 0 || threads > u64::from(MAX_THREADS_PER_BLOCK) || block[2] > 64 {
        return refuse(
            Code::InvalidValue,
            format!(
                "blocks of {block:?} threads: 1 to {MAX_THREADS_PER_BLOCK} are possible, 64 in z"
            ),
        );
    }
    if kernel.exact_threads && kernel.max_threads != Some(block) {
        return refuse(
            Code::InvalidValue,
            format!(
                "blocks of {block:?} threads, but it was compiled for exactly {:?}",
                kernel.max_threads
            ),
        );
    }
    if threads > u64::from(function.max_threads()) {
        let most = function.max_threads();
        return refuse(
            Code::LaunchOutOfResources,
            format!(
                "blocks of {threads} threads, but it was compiled for at most {most} (__launch_bounds__)"
            ),
        );
    }
    if dynamic_shared > function.max_dynamic_shared {
        let most = function.max_dynamic_shared;
        return refuse(
            Code::InvalidValue,
            format!(
                "{dynamic_shared} bytes of dynamic shared memory, {most} allowed: set the function attribute MAX_DYNAMIC_SHARED_SIZE_BYTES"
            ),
        );
    }
    Ok(())
}

impl KernelLaunch {
    /// Runs the kernel; its faults fail the context.
    pub fn execute(&self, driver: &mut Driver) -> Result<(), Failure> {
        let options = Options {
            seed: self.seed,
            cooperative: self.cooperative,
            multiprocessors: driver.devices[self.device].model.multiprocessors,
            ..Options::default()
        };
        let view = driver.devices[self.device].memory.view();
        let start = Instant::now();
        let report = launch(
            &self.kernel,
            view,
            self.dimensions,
            &self.parameters,
            self.limits,
            options,
        );
        // Nobody to tell when it fails, as with `println` of the program itself.
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(report.printed.as_bytes());
        let _ = stdout.flush();
        let device = self.device as u32;
        driver.journal.launched(
            &self.kernel.name,
            LaunchRecord {
                grid: self.dimensions.grid,
                block: self.dimensions.block,
                cluster: self
                    .dimensions
                    .cluster
                    .or(self.kernel.cluster)
                    .unwrap_or([1; 3]),
                dynamic_shared: self.dimensions.dynamic_shared,
                faults: report.faults.len() as u32,
                device,
                seed: self.seed,
                context: self.context.number(),
                stream: self.stream,
                thread: self.thread,
                nanoseconds: start.elapsed().as_nanos() as u64,
                counters: report.counters,
            },
        );
        for fault in &report.faults {
            driver.journal.fault(fault, device, self.thread);
        }
        // Of several faults, the one with a code of its own is what a GPU would have noticed.
        let codes = report.faults.iter().map(|fault| Code::of_fault(fault.kind));
        codes
            .min_by_key(|&code| code == Code::LaunchFailed)
            .map_or(Ok(()), |code| Err(code.into()))
    }
}
