//! One launch of one kernel, to be run as often as wanted, each time in fresh memory.

use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::Pod;
use standin::exec::{Dimensions, Limits, Options, Report, launch};
use standin::isa::Kernel;
use standin::memory::{GlobalMemory, Hint};

use super::compile::{Loaded, loaded};

/// The default order and seven random ones.
pub const SEEDS: std::ops::Range<u64> = 0..8;

/// What a block may have on an H100 after its function attribute was set.
const MOST_SHARED: u32 = 227 * 1024;

/// A buffer of a [`Case`].
#[derive(Debug)]
pub struct Buffer<T> {
    index: usize,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Buffer<T> {}

enum Initial {
    Written(Vec<u8>),
    Unwritten(u64),
    Freed(u64),
    /// Bytes that depend on where another, earlier buffer lies.
    OfAddress(usize, MadeOfAddress),
}

/// Makes bytes of the address of a buffer.
type MadeOfAddress = Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// An argument: bytes, or what depends on where a buffer lies.
enum Argument {
    Bytes(Vec<u8>),
    Pointer(usize, u64),
    OfAddress(usize, MadeOfAddress),
}

/// A kernel with its launch shape, buffers and arguments.
pub struct Case {
    file: Arc<Loaded>,
    name: &'static str,
    dimensions: Dimensions,
    limits: Limits,
    buffers: Vec<Initial>,
    arguments: Vec<Argument>,
    /// Of options other than the seed.
    pub options: Options,
}

impl Case {
    /// A launch of kernel `name` of `kernels/FILE.cu`: one block of one warp until told otherwise.
    pub fn new(file: &'static str, name: &'static str) -> Self {
        Case {
            file: loaded(file),
            name,
            dimensions: Dimensions {
                grid: [1; 3],
                block: [32, 1, 1],
                cluster: None,
                dynamic_shared: 0,
            },
            limits: Limits {
                shared: MOST_SHARED,
            },
            buffers: Vec::new(),
            arguments: Vec::new(),
            options: Options::default(),
        }
    }

    /// Blocks.
    pub fn grid(mut self, x: u32, y: u32) -> Self {
        self.dimensions.grid = [x, y, 1];
        self
    }

    /// Threads a block.
    pub fn block(mut self, threads: u32) -> Self {
        self.dimensions.block = [threads, 1, 1];
        self
    }

    /// The whole shape.
    pub fn set_shape(&mut self, grid: [u32; 3], block: [u32; 3]) {
        self.dimensions.grid = grid;
        self.dimensions.block = block;
    }

    /// All blocks are resident, so that they may wait for each other.
    pub fn cooperative(mut self) -> Self {
        self.options.cooperative = true;
        self
    }

    /// Dynamic shared memory.
    pub fn shared(mut self, bytes: u32) -> Self {
        self.dimensions.dynamic_shared = bytes;
        self
    }

    /// Shared memory that a block may have.
    pub fn shared_limit(mut self, bytes: u32) -> Self {
        self.limits.shared = bytes;
        self
    }

    /// Blocks a cluster, by launch attribute.
    pub fn cluster(mut self, blocks: u32) -> Self {
        self.dimensions.cluster = Some([blocks, 1, 1]);
        self
    }

    /// A buffer that holds `data`, passed as the next argument.
    pub fn input<T: Pod>(&mut self, data: &[T]) -> Buffer<T> {
        let buffer = self.buffer(data);
        self.pass(buffer)
    }

    /// A buffer of `len` elements that were never written, passed as the next argument.
    pub fn output<T: Pod>(&mut self, len: usize) -> Buffer<T> {
        let buffer = self.add(Initial::Unwritten((len * size_of::<T>()) as u64), len);
        self.pass(buffer)
    }

    /// A buffer that was freed before the launch, passed as the next argument.
    pub fn freed<T: Pod>(&mut self, len: usize) -> Buffer<T> {
        let buffer = self.add(Initial::Freed((len * size_of::<T>()) as u64), len);
        self.pass(buffer)
    }

    /// A buffer that holds `data` and is no argument.
    pub fn buffer<T: Pod>(&mut self, data: &[T]) -> Buffer<T> {
        self.add(
            Initial::Written(bytemuck::cast_slice(data).to_vec()),
            data.len(),
        )
    }

    /// A buffer of `len` elements that were never written and is no argument.
    pub fn unwritten<T: Pod>(&mut self, len: usize) -> Buffer<T> {
        self.add(Initial::Unwritten((len * size_of::<T>()) as u64), len)
    }

    /// Passes a pointer to a buffer.
    pub fn pass<T>(&mut self, buffer: Buffer<T>) -> Buffer<T> {
        self.pass_from(buffer, 0);
        buffer
    }

    /// Passes a pointer to a place in a buffer, in bytes.
    pub fn pass_from<T>(&mut self, buffer: Buffer<T>, offset: u64) {
        self.arguments.push(Argument::Pointer(buffer.index, offset));
    }

    /// Passes a buffer that holds what `bytes` makes of the address of another.
    pub fn input_with<T>(
        &mut self,
        buffer: Buffer<T>,
        bytes: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    ) {
        let made = self.add::<u8>(Initial::OfAddress(buffer.index, Box::new(bytes)), 0);
        self.pass(made);
    }

    /// Passes what `bytes` makes of a buffer's address.
    pub fn pass_with<T>(
        &mut self,
        buffer: Buffer<T>,
        bytes: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    ) {
        self.arguments
            .push(Argument::OfAddress(buffer.index, Box::new(bytes)));
    }

    /// Passes a number.
    pub fn value<T: Pod>(&mut self, value: T) {
        self.value_bytes(bytemuck::bytes_of(&value).to_vec());
    }

    /// Passes bytes.
    pub fn value_bytes(&mut self, bytes: Vec<u8>) {
        self.arguments.push(Argument::Bytes(bytes));
    }

    fn add<T>(&mut self, initial: Initial, len: usize) -> Buffer<T> {
        self.buffers.push(initial);
        Buffer {
            index: self.buffers.len() - 1,
            len,
            element: PhantomData,
        }
    }

    /// The file that the kernel is from.
    pub fn file(&self) -> &Loaded {
        &self.file
    }

    /// The name of the kernel.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it in the schedule of a seed.
    pub fn run(&self, seed: u64) -> Run {
        self.run_as(&self.file.kernel(self.name), seed)
    }

    /// Runs another version of the kernel.
    pub fn run_as(&self, kernel: &Kernel, seed: u64) -> Run {
        let mut memory = self.file.fresh_memory();
        let mut addresses = Vec::new();
        for initial in &self.buffers {
            addresses.push(place(&mut memory, initial, &addresses));
        }
        let mut parameters = vec![0; kernel.parameter_bytes as usize];
        assert_eq!(
            kernel.parameters.len(),
            self.arguments.len(),
            "arguments of {}",
            self.name
        );
        for (parameter, argument) in kernel.parameters.iter().zip(&self.arguments) {
            let bytes = match argument {
                Argument::Bytes(bytes) => bytes.clone(),
                Argument::Pointer(buffer, offset) => {
                    (addresses[*buffer] + offset).to_le_bytes().to_vec()
                }
                Argument::OfAddress(buffer, bytes) => bytes(addresses[*buffer]),
            };
            assert_eq!(
                parameter.size as usize,
                bytes.len(),
                "an argument of {}",
                self.name
            );
            parameters[parameter.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        let options = Options {
            seed,
            ..self.options
        };
        let report = launch(
            kernel,
            memory.view(),
            self.dimensions,
            &parameters,
            self.limits,
            options,
        );
        Run {
            report,
            memory,
            addresses,
        }
    }

    /// Runs it in every schedule of [`SEEDS`]: none may draw a report, and all must leave the same bytes in all buffers.
    pub fn check(&self) -> Run {
        let runs = SEEDS.map(|seed| {
            let run = self.run(seed);
            assert!(run.report.faults.is_empty(), "{}", run.faults());
            run
        });
        let mut runs = runs.map(|run| (self.contents(&run), run));
        let (expected, first) = runs.next().expect("there are seeds");
        for (seed, (contents, _)) in (1..).zip(runs) {
            assert!(
                contents == expected,
                "{}: schedule {seed} leaves other results",
                self.name
            );
        }
        first
    }

    /// The bytes of all buffers.
    pub fn contents(&self, run: &Run) -> Vec<Vec<u8>> {
        let bytes = |initial: &Initial| match initial {
            Initial::Written(bytes) => bytes.len(),
            Initial::Unwritten(bytes) => *bytes as usize,
            Initial::Freed(_) | Initial::OfAddress(..) => 0,
        };
        let buffers = self.buffers.iter().enumerate();
        buffers
            .map(|(index, initial)| run.bytes(index, bytes(initial)))
            .collect()
    }
}

/// Allocates a buffer and fills it; `earlier` are the addresses of those before it.
fn place(memory: &mut GlobalMemory, initial: &Initial, earlier: &[u64]) -> u64 {
    let mut allocate = |bytes: u64| memory.allocate(bytes.max(1)).expect("there is room");
    match initial {
        Initial::Unwritten(bytes) => allocate(*bytes),
        Initial::Freed(bytes) => {
            let address = allocate(*bytes);
            memory.free(address).expect("it was just allocated");
            address
        }
        Initial::Written(data) => written(memory, data),
        Initial::OfAddress(buffer, bytes) => written(memory, &bytes(earlier[*buffer])),
    }
}

fn written(memory: &mut GlobalMemory, data: &[u8]) -> u64 {
    let bytes = data.len().max(1) as u64;
    let address = memory.allocate(bytes).expect("there is room");
    let place = memory
        .view()
        .find(address, bytes, &mut Hint::default())
        .expect("it was just allocated");
    memory.view().allocation(place.allocation).write(0, data);
    address
}

/// What a launch left behind.
pub struct Run {
    /// Counters and faults.
    pub report: Report,
    memory: GlobalMemory,
    addresses: Vec<u64>,
}

impl Run {
    /// The elements of a buffer.
    pub fn get<T: Pod>(&self, buffer: Buffer<T>) -> Vec<T> {
        bytemuck::pod_collect_to_vec(&self.bytes(buffer.index, buffer.len * size_of::<T>()))
    }

    /// All faults as text.
    pub fn faults(&self) -> String {
        let all: Vec<String> = self.report.faults.iter().map(ToString::to_string).collect();
        all.join("\n")
    }

    fn bytes(&self, index: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        if len > 0 {
            let view = self.memory.view();
            let place = view.find(self.addresses[index], len as u64, &mut Hint::default());
            let place = place.expect("buffers live as long as the run");
            view.allocation(place.allocation)
                .read(place.offset, &mut bytes);
        }
        bytes
    }
}
