//! Runs work compiled for the vector units that the machine has, found out at run time.

/// Eight numbers, as the machine handles them best.
pub trait Eight: Copy {
    /// From memory.
    fn load(values: &[f32; 8]) -> Self;

    /// The same number eight times.
    fn splat(value: f32) -> Self;

    /// `self + a * b`, the product rounded as well as the sum: the same bits on every machine.
    fn add_product(self, a: Self, b: Self) -> Self;

    /// To memory.
    fn store(self) -> [f32; 8];
}

/// Work that uses vectors. Implementations and what they call must be `#[inline(always)]` and free of closures in array
/// functions: only inlined code is compiled for the vectors of the machine.
pub trait Work {
    /// What it gives.
    type Output;

    /// Does it.
    fn run<V: Eight>(self) -> Self::Output;
}

/// Does the work with AVX2 where the machine has it.
#[inline]
pub fn vectorised<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::run(work) };
    }
    work.run::<[f32; 8]>()
}

impl Eight for [f32; 8] {
    #[inline(always)]
    fn load(values: &[f32; 8]) -> Self {
        *values
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; 8]
    }

    #[inline(always)]
    fn add_product(mut self, a: Self, b: Self) -> Self {
        for (sum, (a, b)) in self.iter_mut().zip(a.iter().zip(&b)) {
            *sum += a * b;
        }
        self
    }

    #[inline(always)]
    fn store(self) -> [f32; 8] {
        self
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{__m256, _mm256_add_ps, _mm256_mul_ps, _mm256_set1_ps};

    use super::{Eight, Work};

    #[target_feature(enable = "avx2")]
    pub(super) fn run<W: Work>(work: W) -> W::Output {
        work.run::<Register>()
    }

    /// A vector register. Only [`run`] names the type, so whatever uses it runs on a processor with AVX2.
    #[derive(Clone, Copy)]
    struct Register(__m256);

    impl Eight for Register {
        #[inline(always)]
        fn load(values: &[f32; 8]) -> Self {
            Register(bytemuck::cast(*values))
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the processor has AVX2, see the type.
            Register(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the processor has AVX2, see the type.
            Register(unsafe { _mm256_add_ps(self.0, _mm256_mul_ps(a.0, b.0)) })
        }

        #[inline(always)]
        fn store(self) -> [f32; 8] {
            bytemuck::cast(self.0)
        }
    }
}
