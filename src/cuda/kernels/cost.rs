//! What a launch has to do at least, for comparison with what the GPU could.

/// The work of one launch that no way of computing it avoids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of its operands and results, each once.
    pub bytes: u64,
    /// Floating-point operations, two a multiply-add.
    pub flops: u64,
}
