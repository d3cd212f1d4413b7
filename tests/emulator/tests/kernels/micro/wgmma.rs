//! wgmma: operands of every layout and type against plain products.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::harness::{Case, Inputs, Swizzle, equal};

const FILE: &str = "micro_wgmma";
const ROWS: usize = 64;

/// The field of a matrix descriptor.
fn code(swizzle: Swizzle) -> u32 {
    match swizzle {
        Swizzle::None => 0,
        Swizzle::Bytes128 => 1,
        Swizzle::Bytes64 => 2,
        Swizzle::Bytes32 => 3,
    }
}

/// An operand of `lines` rows (of A) or columns (of B) and `depth` along k, laid out for wgmma.
struct Layout {
    swizzle: Swizzle,
    /// Whether the lines are contiguous instead of k.
    lines_first: bool,
    lines: usize,
    depth: usize,
    element: usize,
}

/// The fields of a descriptor, and the bytes from one k step of 32 bytes (or 16 lines of k) to the next: as the kernel
/// takes them.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Descriptor {
    offset: u32,
    leading: u32,
    stride: u32,
    step: u32,
    swizzle: u32,
}

impl Layout {
    /// The tile is a grid of blocks of eight pattern rows: this many bytes.
    fn block(&self) -> usize {
        8 * self.swizzle.width()
    }

    /// Elements in a row of the pattern.
    fn per_row(&self) -> usize {
        self.swizzle.width() / self.element
    }

    /// Address of an element, swizzle applied.
    fn address(&self, line: usize, k: usize) -> usize {
        let (along, across) = if self.lines_first {
            (line, k)
        } else {
            (k, line)
        };
        let blocks_across = if self.lines_first {
            self.depth
        } else {
            self.lines
        } / 8;
        let block = along / self.per_row() * blocks_across + across / 8;
        let within = across % 8 * self.swizzle.width() + along % self.per_row() * self.element;
        self.swizzle.place(block * self.block() + within)
    }

    fn bytes(&self) -> usize {
        self.lines * self.depth * self.element
    }

    fn descriptor(&self, offset: usize) -> Descriptor {
        let blocks_across = if self.lines_first {
            self.depth
        } else {
            self.lines
        } / 8;
        // From one block to the next across the pattern's rows, and along them.
        let (across, along) = (self.block(), blocks_across * self.block());
        let (leading, stride, step) = match (self.lines_first, self.swizzle) {
            // A step of 32 bytes along k is two columns of blocks.
            (false, Swizzle::None) => (along, across, 2 * along),
            (false, swizzle) => (
                16,
                across,
                if swizzle == Swizzle::Bytes32 {
                    along
                } else {
                    32
                },
            ),
            (true, Swizzle::None) => (across, along, 2 * across),
            (true, _) => (along, across, 2 * across),
        };
        Descriptor {
            offset: offset as u32,
            leading: leading as u32,
            stride: stride as u32,
            step: step as u32,
            swizzle: code(self.swizzle),
        }
    }

    fn fill<T: Pod>(&self, image: &mut [u8], values: &[T]) {
        for line in 0..self.lines {
            for k in 0..self.depth {
                let at = self.address(line, k);
                image[at..at + self.element]
                    .copy_from_slice(bytemuck::bytes_of(&values[line * self.depth + k]));
            }
        }
    }
}

/// d = a * b for a `[64, depth]` and b `[columns, depth]` (transposed).
fn product(columns: usize, depth: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    (0..ROWS * columns)
        .map(|i| {
            let (m, n) = (i / columns, i % columns);
            (0..depth)
                .map(|k| a[m * depth + k] * b[n * depth + k])
                .sum()
        })
        .collect()
}

/// A launch with both operands in one image of shared memory.
fn case_of(kernel: &'static str, image: &[u8], descriptors: &[Descriptor]) -> Case {
    let mut case = Case::new(FILE, kernel)
        .block(128)
        .shared(image.len() as u32);
    case.input(image);
    case.value(image.len() as i32);
    for &descriptor in descriptors {
        case.value(descriptor);
    }
    case
}

fn check_halves(kernel: &'static str, a: &Layout, b: &Layout) {
    let mut inputs = Inputs::new(1);
    let (a_values, b_values) = (
        inputs.small_halves(ROWS * a.depth),
        inputs.small_halves(b.lines * b.depth),
    );
    let b_offset = a.bytes().next_multiple_of(1024);
    let mut image = vec![0; b_offset + b.bytes()];
    a.fill(&mut image, &a_values);
    b.fill(&mut image[b_offset..], &b_values);
    let mut case = case_of(kernel, &image, &[a.descriptor(0), b.descriptor(b_offset)]);
    case.value(a.depth as i32 / 16);
    let d = case.output::<f32>(ROWS * b.lines);
    let widen = |values: &[f16]| {
        values
            .iter()
            .map(|value| value.to_f64())
            .collect::<Vec<_>>()
    };
    let expected: Vec<f32> = product(b.lines, a.depth, &widen(&a_values), &widen(&b_values))
        .into_iter()
        .map(|value| value as f32)
        .collect();
    let run = case.check();
    equal(&run.get(d), &expected)
        .unwrap_or_else(|wrong| panic!("{kernel}, {:?} and {:?}: {wrong}", a.swizzle, b.swizzle));
    assert_eq!(run.report.counters.wgmma, a.depth as u64 / 16);
}

/// Both operands in all swizzles, for one choice of which index is contiguous.
fn check_layouts(kernel: &'static str, lines_first: [bool; 2]) {
    let check = |swizzles: [Swizzle; 2], depth: usize| {
        let [a, b] = [0, 1].map(|i| Layout {
            swizzle: swizzles[i],
            lines_first: lines_first[i],
            lines: 64,
            depth,
            element: 2,
        });
        check_halves(kernel, &a, &b);
    };
    for swizzle in Swizzle::ALL {
        // Steps along k stay within a row of the pattern, or each is a row: so that all are equal.
        check(
            [swizzle; 2],
            if swizzle == Swizzle::Bytes64 { 32 } else { 64 },
        );
    }
    check([Swizzle::Bytes128, Swizzle::Bytes32], 64);
}

#[test]
fn k_contiguous_in_both() {
    check_layouts("wgmma_f16_nn", [false, false]);
}

#[test]
fn rows_contiguous_in_a() {
    check_layouts("wgmma_f16_tn", [true, false]);
}

#[test]
fn columns_contiguous_in_b() {
    check_layouts("wgmma_f16_nt", [false, true]);
}

#[test]
fn lines_contiguous_in_both() {
    check_layouts("wgmma_f16_tt", [true, true]);
}

/// One product of 8 columns, of a type whose values are given.
fn check_once<T: Pod, D: Pod + PartialEq + std::fmt::Debug>(
    kernel: &'static str,
    depth: usize,
    value: impl Fn(u32) -> (T, f64),
    result: impl Fn(f64) -> D,
) {
    let layout = |lines| Layout {
        swizzle: Swizzle::Bytes32,
        lines_first: false,
        lines,
        depth,
        element: size_of::<T>(),
    };
    let (a, b) = (layout(ROWS), layout(8));
    let mut inputs = Inputs::new(2);
    let mut operand =
        |len| -> (Vec<T>, Vec<f64>) { inputs.words(len).into_iter().map(&value).unzip() };
    let (a_values, a_numbers) = operand(ROWS * depth);
    let (b_values, b_numbers) = operand(8 * depth);
    let b_offset = a.bytes().next_multiple_of(1024);
    let mut image = vec![0; b_offset + b.bytes()];
    a.fill(&mut image, &a_values);
    b.fill(&mut image[b_offset..], &b_values);
    let mut case = case_of(kernel, &image, &[a.descriptor(0), b.descriptor(b_offset)]);
    let d = case.output::<D>(ROWS * 8);
    let expected: Vec<D> = product(8, depth, &a_numbers, &b_numbers)
        .into_iter()
        .map(result)
        .collect();
    equal(&case.check().get(d), &expected).unwrap();
}

#[test]
fn integers() {
    check_once(
        "wgmma_s8",
        32,
        |word| (word as i8, f64::from(word as i8)),
        |value| value as i32,
    );
}

#[test]
fn fp8() {
    // Integers from -3 to 3, exact in all sums.
    const E4M3: [u8; 4] = [0x00, 0x38, 0x40, 0x44];
    let value = |word: u32| {
        let (number, negative) = ((word & 3) as usize, word & 4 != 0);
        (
            E4M3[number] | if negative { 0x80 } else { 0 },
            if negative {
                -(number as f64)
            } else {
                number as f64
            },
        )
    };
    check_once("wgmma_e4m3", 32, value, |value| value as f32 + 0.0);
}

#[test]
fn tf32_subtracted() {
    let value = |word: u32| ((word % 7) as f32 - 3.0, f64::from(word % 7) - 3.0);
    check_once("wgmma_tf32_negated", 8, value, |value| 0.0 - value as f32);
}

#[test]
fn a_in_registers() {
    const DEPTH: usize = 16;
    let mut inputs = Inputs::new(3);
    let (a, b_values) = (
        inputs.small_bf16(ROWS * DEPTH),
        inputs.small_bf16(8 * DEPTH),
    );
    let b = Layout {
        swizzle: Swizzle::Bytes32,
        lines_first: false,
        lines: 8,
        depth: DEPTH,
        element: 2,
    };
    let mut image = vec![0; b.bytes()];
    b.fill(&mut image, &b_values);
    let mut case = case_of("wgmma_bf16_registers", &image, &[]);
    case.input(&a);
    case.value(b.descriptor(0));
    let d = case.output::<f32>(ROWS * 8);
    let widen = |values: &[bf16]| {
        values
            .iter()
            .map(|value| value.to_f64())
            .collect::<Vec<_>>()
    };
    let expected: Vec<f32> = product(8, DEPTH, &widen(&a), &widen(&b_values))
        .into_iter()
        .map(|value| value as f32)
        .collect();
    equal(&case.check().get(d), &expected).unwrap();
}
