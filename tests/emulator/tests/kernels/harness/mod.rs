//! Runs kernels on the interpreter: compiles a `.cu` file, gives a kernel its buffers and parameters, looks at the report.

mod case;
mod compare;
mod compile;
mod inputs;
mod tensor;

pub use case::{Buffer, Case, Run, SEEDS};
pub use compare::{close, equal};
pub use compile::{fatbin_of, line_of};
pub use inputs::Inputs;
pub use tensor::{Swizzle, Tensor};
