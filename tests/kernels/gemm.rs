//! `kernels/gemm.cu`: a linear layer with bias, GELU or residual.

use half::{bf16, f16};
use lexpeak::Category;
use lexpeak::cuda::kernels::{Cost, Epilogue, Gemm, GemmArgs};

use crate::oracle::{Tensor, ops};
use crate::precision::{assert_as_exact_as_plain, plain_dot};
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Half, Numbers, PAST_THE_END, Real, download, poisoned, upload, wide, wide32};

const EPILOGUES: [Epilogue; 3] = [Epilogue::Bias, Epilogue::BiasGelu, Epilogue::BiasResidual];

/// Tokens, outputs, inputs: on both sides of tiles of 128, of steps of 32 and of the 7 steps from which on the main loop goes
/// around its ring, and those of real models.
const SHAPES: [[usize; 3]; 14] = [
    [2, 136, 216],
    [129, 72, 232],
    [33, 136, 1000],
    [1, 8, 8],
    [2, 72, 40],
    [63, 128, 64],
    [64, 136, 72],
    [65, 264, 384],
    [127, 768, 40],
    [128, 128, 768],
    [129, 136, 64],
    [300, 264, 72],
    [1, 768, 768],
    [300, 8, 384],
];

#[derive(Clone)]
struct Operands<T> {
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<f32>,
    residual: Vec<f16>,
    inputs: usize,
}

impl<T: Half> Operands<T> {
    fn random([tokens, outputs, inputs]: [usize; 3]) -> Self {
        let mut numbers = Numbers::named("gemm", (tokens * 1000 + outputs) * 1000 + inputs);
        Self {
            x: numbers.many(tokens * inputs, 2.0),
            weight: numbers.many(outputs * inputs, 2.0 / (inputs as f64).sqrt()),
            bias: numbers.floats(outputs, 1.0),
            residual: numbers.many(tokens * outputs, 2.0),
            inputs,
        }
    }

    /// Every step is exact in f32, and nowhere else: products add up to 4096 and a little, which the bias (and the
    /// residual) take back. Rounded to storage before the end, that little would be gone. All are multiples of 8,
    /// where GELU is 0 or the number itself.
    fn whole_numbers([tokens, outputs, inputs]: [usize; 3], epilogue: Epilogue) -> Self {
        let mut numbers = Numbers::named("gemm", tokens + outputs + inputs);
        let mut matrix = |rows: usize, scale: f64| -> Vec<T> {
            let mut value = |at: usize| match at % inputs {
                0 => 64.0,
                _ => scale * (numbers.below(3) as f64 - 1.0),
            };
            (0..rows * inputs).map(|at| T::round(value(at))).collect()
        };
        let (x, weight) = (matrix(tokens, 1.0), matrix(outputs, 8.0));
        let (taken, added) = match epilogue {
            Epilogue::BiasResidual => (8192.0, 4096.0),
            Epilogue::Bias | Epilogue::BiasGelu => (4096.0, 0.0),
        };
        Self {
            x,
            weight,
            bias: (0..outputs)
                .map(|n| (8 * (n % 11)) as f32 - 40.0 - taken)
                .collect(),
            residual: (0..tokens * outputs)
                .map(|at| f16::round(added + 32.0 * (at % 7) as f64))
                .collect(),
            inputs,
        }
    }

    fn tokens(&self) -> usize {
        self.x.len() / self.inputs
    }

    /// Those of some tokens alone.
    fn rows(&self, tokens: std::ops::Range<usize>) -> Self {
        let outputs = self.bias.len();
        Self {
            x: self.x[tokens.start * self.inputs..tokens.end * self.inputs].to_vec(),
            residual: self.residual[tokens.start * outputs..tokens.end * outputs].to_vec(),
            ..self.clone()
        }
    }

    fn run<R: Real>(&self, rig: &Rig, kernel: &Gemm<T, R>, epilogue: Epilogue) -> Vec<R> {
        let gpu = &rig.gpu;
        let len = self.tokens() * self.bias.len();
        let mut out = poisoned(gpu, len + PAST_THE_END);
        let [x, weight] = [&self.x, &self.weight].map(|values| upload(gpu, values));
        let (bias, residual) = (upload(gpu, &self.bias), upload(gpu, &self.residual));
        let args = GemmArgs {
            x: x.as_view(),
            weight: weight.as_view(),
            bias: bias.as_view(),
            residual: (epilogue == Epilogue::BiasResidual).then(|| residual.as_view()),
            out: out.slice_mut(..len),
        };
        kernel.launch(args).expect("the operands fit");
        let mut out = download(gpu, &out);
        let past = out.split_off(len);
        assert!(
            past.iter().all(|value| value.bits() == R::nan().bits()),
            "written past the end"
        );
        out
    }

    /// Products and bias, exactly.
    fn sums(&self) -> Vec<f64> {
        let weight = Tensor {
            shape: vec![self.bias.len(), self.inputs],
            data: wide(&self.weight),
        };
        ops::linear(&wide(&self.x), &weight, &wide32(&self.bias))
    }

    /// The same in f32, one product after the other.
    fn plain_sums(&self) -> Vec<f64> {
        let mut sums = Vec::new();
        for token in self.x.chunks_exact(self.inputs) {
            let rows = self.weight.chunks_exact(self.inputs).zip(&self.bias);
            sums.extend(rows.map(|(row, bias)| f64::from(plain_dot(token, row) + bias)));
        }
        sums
    }

    fn finish(&self, sums: &[f64], epilogue: Epilogue) -> Vec<f64> {
        match epilogue {
            Epilogue::Bias => sums.to_vec(),
            Epilogue::BiasGelu => ops::gelu(sums),
            Epilogue::BiasResidual => ops::add(sums, &wide(&self.residual)),
        }
    }
}

fn agrees_with_the_reference<T: Half, R: Real>(epilogues: &[Epilogue]) {
    let rig = Rig::new();
    for shape in SHAPES {
        let operands = Operands::<T>::random(shape);
        let (sums, plain_sums) = (operands.sums(), operands.plain_sums());
        for &epilogue in epilogues {
            let kernel = Gemm::<T, R>::load(&rig.gpu, epilogue).unwrap();
            let exact = operands.finish(&sums, epilogue);
            let plain = operands.finish(&plain_sums, epilogue);
            let plain: Vec<R> = plain.into_iter().map(R::round).collect();
            let what = format!("gemm {epilogue:?} {} to {} {shape:?}", T::NAME, R::NAME);
            rig.under_all_schedules(|| {
                let out = operands.run(&rig, &kernel, epilogue);
                assert_as_exact_as_plain(&wide(&out), &wide(&plain), &exact, &what);
            });
        }
    }
}

#[test]
fn f16_agrees_with_the_reference() {
    agrees_with_the_reference::<f16, f16>(&EPILOGUES);
}

#[test]
fn bf16_agrees_with_the_reference() {
    agrees_with_the_reference::<f16, bf16>(&[Epilogue::Bias, Epilogue::BiasGelu]);
    agrees_with_the_reference::<f16, f32>(&[Epilogue::Bias, Epilogue::BiasGelu]);
    agrees_with_the_reference::<bf16, f32>(&[Epilogue::BiasResidual]);
}

fn whole_numbers_come_out_exactly<T: Half, R: Real>(epilogues: &[Epilogue]) {
    let rig = Rig::new();
    for shape in SHAPES {
        for &epilogue in epilogues {
            let kernel = Gemm::<T, R>::load(&rig.gpu, epilogue).unwrap();
            let operands = Operands::<T>::whole_numbers(shape, epilogue);
            let exact = match epilogue {
                Epilogue::BiasGelu => operands.sums().iter().map(|sum| sum.max(0.0)).collect(),
                other => operands.finish(&operands.sums(), other),
            };
            rig.under_all_schedules(|| {
                let out = operands.run(&rig, &kernel, epilogue);
                for (at, (value, &exact)) in out.iter().zip(&exact).enumerate() {
                    let (row, column) = (at / shape[1], at % shape[1]);
                    let what = format!("{epilogue:?} {shape:?}: row {row}, column {column}");
                    // GELU of -8 is -5e-15, which only f16 takes for 0.
                    let error = (value.value() - R::round(exact).value()).abs();
                    let allowed = if epilogue == Epilogue::BiasGelu {
                        1e-14
                    } else {
                        0.0
                    };
                    assert!(error <= allowed, "{what} is {value:?}, not {exact}");
                }
            });
        }
    }
}

#[test]
fn f16_whole_numbers_come_out_exactly() {
    whole_numbers_come_out_exactly::<f16, f16>(&EPILOGUES);
}

#[test]
fn bf16_whole_numbers_come_out_exactly() {
    whole_numbers_come_out_exactly::<f16, bf16>(&[Epilogue::Bias, Epilogue::BiasGelu]);
    whole_numbers_come_out_exactly::<f16, f32>(&[Epilogue::Bias, Epilogue::BiasGelu]);
    whole_numbers_come_out_exactly::<bf16, f32>(&[Epilogue::BiasResidual]);
}

/// Nothing but a bias, from far below to far above 0.
#[test]
fn gelu_is_as_exact_as_f32() {
    let rig = Rig::new();
    let kernel = Gemm::<f16, f32>::load(&rig.gpu, Epilogue::BiasGelu).unwrap();
    let operands = Operands::<f16> {
        x: vec![f16::ZERO; 8],
        weight: vec![f16::ZERO; 8 * 8192],
        bias: (0..8192).map(|n| (n - 4096) as f32 / 200.0).collect(),
        residual: Vec::new(),
        inputs: 8,
    };
    let out = operands.run(&rig, &kernel, Epilogue::BiasGelu);
    let exact = ops::gelu(&wide32(&operands.bias));
    for ((x, value), exact) in operands.bias.iter().zip(out).zip(exact) {
        let allowed = 5e-8 + f64::from(f32::EPSILON) * exact.abs();
        let error = (f64::from(value) - exact).abs();
        assert!(error <= allowed, "GELU of {x} is {value}, not {exact}");
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    let rig = Rig::new();
    for epilogue in EPILOGUES {
        let kernel = Gemm::<f16>::load(&rig.gpu, epilogue).unwrap();
        let all = Operands::<f16>::random([130, 136, 72]);
        let together = all.run(&rig, &kernel, epilogue);
        let again = all.run(&rig, &kernel, epilogue);
        assert!(together == again, "the same input twice");
        for rows in [0..1, 77..78, 126..130, 129..130] {
            let alone = all.rows(rows.clone()).run(&rig, &kernel, epilogue);
            assert!(
                alone == together[rows.start * 136..rows.end * 136],
                "{epilogue:?}, rows {rows:?}"
            );
        }
    }
}

#[test]
fn what_is_no_number_stays_in_its_row() {
    let rig = Rig::new();
    // The last row of a tile, one in the midst, and the last of all, which stands in for those past the end.
    let (tokens, outputs, inputs) = (131, 136, 40);
    for epilogue in EPILOGUES {
        let kernel = Gemm::<f16>::load(&rig.gpu, epilogue).unwrap();
        let mut operands = Operands::<f16>::random([tokens, outputs, inputs]);
        let before = operands.run(&rig, &kernel, epilogue);
        let spoiled = [0, 50, 127, 130];
        for row in spoiled {
            operands.x[row * inputs + row % inputs] = f16::NAN;
        }
        let after = operands.run(&rig, &kernel, epilogue);
        for row in 0..tokens {
            let columns = row * outputs..(row + 1) * outputs;
            if spoiled.contains(&row) {
                assert!(after[columns].iter().all(|v| v.is_nan()), "row {row}");
            } else {
                assert!(after[columns.clone()] == before[columns], "row {row}");
            }
        }
    }
}

/// Share of tensor instructions among all, at least: measured, less a little for the next compiler.
fn least_mma_share(epilogue: Epilogue) -> f64 {
    match epilogue {
        Epilogue::Bias => 0.345,
        Epilogue::BiasGelu => 0.205,
        Epilogue::BiasResidual => 0.295,
    }
}

fn reads_and_writes_everything_once<T: Half, R: Real>(epilogues: &[Epilogue]) {
    let rig = Rig::new();
    let [tokens, outputs, inputs] = [256, 256, 512];
    let blocks = 4;
    for &epilogue in epilogues {
        let kernel = Gemm::<T, R>::load(&rig.gpu, epilogue).unwrap();
        Operands::<T>::random([tokens, outputs, inputs]).run(&rig, &kernel, epilogue);
        let Some(launch) = rig.last_launch() else {
            return;
        };
        assert_clean_traffic(&launch);
        let counters = launch.record.counters;
        assert_eq!(counters.blocks, blocks);
        assert_eq!(
            counters.mma,
            (tokens * outputs * inputs / (16 * 8 * 16)) as u64
        );
        let results = (tokens * outputs) as u64;
        let stored = size_of::<R>() as u64 * results;
        assert_eq!(counters.global_store_bytes, stored);
        assert_eq!(counters.global_store_sectors, stored / 32);
        // Each of the 8 warps of a block reads the bias of its 128 outputs.
        let tiles = blocks * 2 * 128 * inputs as u64 * 2;
        let bias = blocks * 8 * 128 * 4;
        let residual = if epilogue == Epilogue::BiasResidual {
            2 * results
        } else {
            0
        };
        assert_eq!(counters.global_load_bytes, tiles + bias + residual);
        assert_eq!(
            counters.global_load_sectors * 32,
            counters.global_load_bytes
        );
        let share = counters.mma as f64 / counters.warp_instructions as f64;
        println!(
            "gemm {epilogue:?} {} to {}: mma is {:.1} % of all instructions",
            T::NAME,
            R::NAME,
            100.0 * share
        );
        assert!(share >= least_mma_share(epilogue), "{counters:?}");
    }
}

#[test]
fn it_reads_each_operand_once_a_block_and_writes_each_element_once() {
    reads_and_writes_everything_once::<f16, f16>(&EPILOGUES);
    reads_and_writes_everything_once::<f16, f32>(&[Epilogue::Bias, Epilogue::BiasGelu]);
    reads_and_writes_everything_once::<bf16, f32>(&[Epilogue::BiasResidual]);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    // 2 tokens, 16 inputs, 8 outputs: lengths of x, weight, bias, residual and out.
    let refused = |epilogue, [x, weight, bias, residual, out]: [usize; 5], named: &str| {
        let kernel = Gemm::<f16>::load(gpu, epilogue).unwrap();
        let residual = (residual > 0).then(|| poisoned::<f16>(gpu, residual));
        let bias = upload(gpu, &vec![0.0_f32; bias]);
        let error = kernel
            .launch(GemmArgs {
                x: poisoned(gpu, x).as_view(),
                weight: poisoned(gpu, weight).as_view(),
                bias: bias.as_view(),
                residual: residual.as_ref().map(|residual| residual.as_view()),
                out: poisoned(gpu, out).as_view_mut(),
            })
            .unwrap_err();
        assert_eq!(error.category(), Category::Device);
        let text = error.to_string();
        assert!(text.contains("gemm_bias") && text.contains(named), "{text}");
    };
    use Epilogue::{Bias, BiasGelu, BiasResidual};
    refused(Bias, [33, 128, 8, 0, 16], "x has 33");
    refused(Bias, [32, 129, 8, 0, 16], "weight has 129");
    refused(Bias, [32, 128, 8, 0, 15], "out has 15");
    refused(Bias, [32, 128, 8, 16, 16], "residual has 16");
    refused(BiasGelu, [32, 128, 8, 16, 16], "residual has 16");
    refused(BiasResidual, [32, 128, 8, 0, 16], "residual has 0");
    refused(BiasResidual, [32, 128, 8, 17, 16], "residual has 17");
    refused(Bias, [24, 96, 8, 0, 16], "12 inputs");
    refused(Bias, [32, 192, 12, 0, 24], "12 outputs");
    refused(Bias, [32, 4, 8, 0, 16], "0 inputs");
    // One token more than a grid has rows of tiles for.
    let many = 8 * (65_535 * 128 + 1);
    refused(Bias, [many, 64, 8, 0, many], "8388481 tokens at once");
}

#[test]
fn a_batch_without_a_token_launches_nothing() {
    let rig = Rig::new();
    let kernel = Gemm::<f16>::load(&rig.gpu, Epilogue::Bias).unwrap();
    let none = Operands::<f16>::random([1, 8, 16]).rows(0..0);
    assert!(none.run(&rig, &kernel, Epilogue::Bias).is_empty());
}

#[test]
fn its_cost_counts_each_operand_once() {
    let rig = Rig::new();
    let cost = |epilogue| {
        let kernel = Gemm::<f16>::load(&rig.gpu, epilogue).unwrap();
        kernel.cost(3, 8, 16)
    };
    let (x, weight, bias, out) = (2 * 3 * 16, 2 * 8 * 16, 4 * 8, 2 * 3 * 8);
    let (bytes, flops) = (x + weight + bias + out, 2 * 3 * 8 * 16);
    assert_eq!(cost(Epilogue::Bias), Cost { bytes, flops });
    assert_eq!(cost(Epilogue::BiasGelu), Cost { bytes, flops });
    let with_residual = bytes + out;
    let sums = Gemm::<bf16, f32>::load(&rig.gpu, Epilogue::BiasResidual).unwrap();
    for (cost, bytes) in [
        (cost(Epilogue::BiasResidual), with_residual),
        (sums.cost(3, 8, 16), with_residual + out),
    ] {
        assert_eq!(cost, Cost { bytes, flops });
    }
}
