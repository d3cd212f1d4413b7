//! The driver: what `libcuda.so` exports, on top of the interpreter.
//!
//! Every exported function has the name, the arguments and the contract of the CUDA driver API; what is said about each
//! here is only what the stand-in does differently or leaves out. Everything runs under one lock (`entry`).
//!
//! **Late on purpose.** Asynchronous work is a task that waits until somebody waits for it (`queue`): for its stream, an
//! event behind it, its context, or a copy that blocks. A missing synchronisation therefore shows every time: the host sees
//! old data, or poison (bytes `0xff`) in memory that nothing has written yet. Three things make work run without being
//! waited for: a query brings a stream one task further; more than 1024 waiting tasks make a call wait, as a full queue does
//! on a GPU; and host functions are called after some milliseconds, because the program may wait for what they do.
//!
//! **Faults.** What a check finds in a kernel is printed, appended to the report file and kept for tests (`journal`); the
//! context then fails: its queue is dropped, and every later call gives the error again, until the context is destroyed.
//! Wrong calls of the host program are reported in the same way, but have no consequences beyond their result.
//!
//! **The environment**, read by `cuInit`, which fails on a value that makes no sense:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `STANDIN_CC` | compute capability: `7.5` (numbers of a T4), `8.0` (of an A100) or `9.0` (of an H100) | `9.0` |
//! | `STANDIN_DEVICES` | number of devices, 1 to 8 | 1 |
//! | `STANDIN_MEMORY` | memory of a device in MiB, up to 16384 | 16384 |
//! | `STANDIN_SEED` | 0: tasks, blocks and warps in a fixed order; others: a random order that streams and events allow | 0 |
//! | `STANDIN_REPORT` | file to which each finding is appended | none |
//!
//! The report file has one JSON object a line: `kind` (number of the [`FaultKind`](crate::fault::FaultKind), 0 for a wrong
//! call), `code` (the `CUresult`), `message`, `kernel` (or the function called), `source`, `instruction`, `ptx_line`,
//! `block`, `thread`, `device`, `seed`.
//!
//! **Not there**: kernels that reach host or another device's memory, managed memory, allocations inside of graphs, graphs
//! built by hand, textures, cubins. Of a device's 16 GiB only what is touched costs memory of the host. Registers and their
//! limits are unknown, since ptxas never runs: `CU_FUNC_ATTRIBUTE_NUM_REGS` is 0, occupancy follows from threads and shared
//! memory.

#![allow(
    non_snake_case,
    reason = "the exported functions have the names that programs look for"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract of every exported function is that of the CUDA driver API"
)]

mod capture;
mod capture_calls;
mod context;
mod context_properties;
mod copy;
mod device;
mod entry;
mod environment;
mod error;
mod event;
mod exports;
mod fill;
mod function;
mod graph;
mod host_call;
mod host_memory;
mod journal;
mod launch;
mod launch_calls;
mod memory;
mod model;
mod module;
mod occupancy;
mod parameters;
mod pointer;
mod pool;
mod primary;
mod procedures;
mod profiler;
mod queue;
pub mod record;
mod rectangle;
mod replay;
mod state;
mod stream;
mod stream_properties;
mod table;
mod tensor_map;
mod transfer;
mod work;
