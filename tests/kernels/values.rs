//! Inputs in a storage type, and what the reference makes of them.

use cudarc::driver::{CudaSlice, DeviceRepr};
use half::{bf16, f16};
use lexpeak::cuda::Gpu;
use lexpeak::cuda::kernels::{Element, Storage};

use crate::support::random_tensors::SplitMix64;

/// A type of operands or results, with its arithmetic.
pub trait Real: Element + Default + PartialEq {
    fn round(value: f64) -> Self;
    fn value(self) -> f64;
    fn bits(self) -> u32;
    fn nan() -> Self;
}

/// A storage type.
pub trait Half: Real + Storage<Sum: Real> {}

impl Half for f16 {}
impl Half for bf16 {}

impl Real for f16 {
    fn round(value: f64) -> Self {
        Self::from_f64(value)
    }
    fn value(self) -> f64 {
        self.to_f64()
    }
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
    fn nan() -> Self {
        Self::NAN
    }
}

impl Real for bf16 {
    fn round(value: f64) -> Self {
        Self::from_f64(value)
    }
    fn value(self) -> f64 {
        self.to_f64()
    }
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
    fn nan() -> Self {
        Self::NAN
    }
}

impl Real for f32 {
    fn round(value: f64) -> Self {
        value as Self
    }
    fn value(self) -> f64 {
        self.into()
    }
    fn bits(self) -> u32 {
        self.to_bits()
    }
    fn nan() -> Self {
        Self::NAN
    }
}

/// Numbers that look random and are the same in every run.
pub struct Numbers(SplitMix64);

impl Numbers {
    /// Those of an operation at some sizes.
    pub fn named(operation: &str, seed: usize) -> Self {
        Self(SplitMix64::named(operation, seed as u64))
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    fn bits(&mut self) -> u64 {
        self.0.next().expect("the generator never ends")
    }

    /// Between -`reach` and `reach`.
    pub fn uniform(&mut self, reach: f64) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 52) as f64 * reach - reach
    }

    pub fn many<T: Real>(&mut self, len: usize, reach: f64) -> Vec<T> {
        (0..len).map(|_| T::round(self.uniform(reach))).collect()
    }

    pub fn floats(&mut self, len: usize, reach: f64) -> Vec<f32> {
        (0..len).map(|_| self.uniform(reach) as f32).collect()
    }
}

pub fn wide<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.value()).collect()
}

pub fn wide32(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

pub fn upload<T: DeviceRepr>(gpu: &Gpu, values: &[T]) -> CudaSlice<T> {
    gpu.stream().clone_htod(values).expect("there is room")
}

pub fn download<T: DeviceRepr>(gpu: &Gpu, values: &CudaSlice<T>) -> Vec<T> {
    gpu.stream()
        .clone_dtoh(values)
        .expect("the kernel succeeded")
}

/// A buffer full of NaN: what a kernel forgets to write shows.
pub fn poisoned<T: Real>(gpu: &Gpu, len: usize) -> CudaSlice<T> {
    upload(gpu, &vec![T::nan(); len])
}

/// Rows of `width` values, each with zeros behind it up to `stride`.
pub fn padded<T: Copy + Default>(values: &[T], width: usize, stride: usize) -> Vec<T> {
    let row = |row: &[T]| [row, &vec![T::default(); stride - width]].concat();
    values.chunks_exact(width).flat_map(row).collect()
}

/// The rows without what is behind them, which must be zeros.
pub fn unpadded<T: Real>(values: &[T], width: usize, stride: usize) -> Vec<T> {
    let mut rows = Vec::new();
    for (at, row) in values.chunks_exact(stride).enumerate() {
        rows.extend_from_slice(&row[..width]);
        assert!(
            row[width..].iter().all(|value| value.value() == 0.0),
            "row {at}: {:?} behind it",
            &row[width..]
        );
    }
    rows
}
/// Elements behind an output that a kernel must leave alone.
pub const PAST_THE_END: usize = 64;
