//! The architectures that kernels are compiled for.

use std::fmt;

/// A GPU architecture that gets machine code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A100 and, because code for 8.0 runs on every 8.x, A10 and RTX 30.
    Sm80,
    /// L4, L40, RTX 40.
    Sm89,
    /// H100, H200, with the instructions that only they have.
    Sm90a,
    /// B200, with the instructions that only they have.
    Sm100a,
    /// RTX 50, with the instructions that only they have.
    Sm120a,
}

impl Target {
    /// Every target, oldest first.
    pub const ALL: [Self; 5] = [
        Self::Sm80,
        Self::Sm89,
        Self::Sm90a,
        Self::Sm100a,
        Self::Sm120a,
    ];

    /// The name of its machine code, `sm_90a`.
    pub fn sm(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm89 => "sm_89",
            Self::Sm90a => "sm_90a",
            Self::Sm100a => "sm_100a",
            Self::Sm120a => "sm_120a",
        }
    }

    /// The name of its PTX, `compute_90a`.
    pub fn compute(self) -> String {
        self.sm().replacen("sm", "compute", 1)
    }

    /// The target with this machine code.
    pub(crate) fn named(sm: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.sm() == sm)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sm())
    }
}
