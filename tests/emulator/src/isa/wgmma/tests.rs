mod arithmetic;
mod kernel;
mod pool;
mod rules;
mod tiling;

use crate::exec::machine::Launched;
use crate::isa::Flow;

/// A matrix descriptor.
fn descriptor(start: u32, leading: u32, stride: u32, swizzle: u64) -> u64 {
    let field = |bytes: u32| u64::from(bytes >> 4) & 0x3fff;
    field(start) | field(leading) << 16 | field(stride) << 32 | swizzle << 62
}

/// Executes lines on the four warps of a block, one warp after the other.
fn all_execute(run: &mut Launched<'_>, lines: std::ops::Range<u32>) {
    for line in lines {
        (0..4).for_each(|warp| run.execute((0, warp), line));
    }
}

/// Executes a wait on the four warps, none of which has to try again.
fn all_wait(run: &mut Launched<'_>, line: u32) {
    for warp in 0..4 {
        assert_eq!(run.try_execute((0, warp), line).unwrap(), Flow::Next);
    }
}
