//! Profiling begins and ends: nobody listens.

use super::entry::enter;
use super::error::Code;

/// Begins.
#[unsafe(no_mangle)]
pub extern "C" fn cuProfilerStart() -> Code {
    enter("cuProfilerStart", |_| Ok(()))
}

/// Ends.
#[unsafe(no_mangle)]
pub extern "C" fn cuProfilerStop() -> Code {
    enter("cuProfilerStop", |_| Ok(()))
}
