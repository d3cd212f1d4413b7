//! The two tables of `kernels/README.md`: what a forward pass takes at least, and what the stand-in counts of each kernel.
//! A test that fails prints the table that belongs there.

use std::fmt::Write as _;

use cudarc::driver::{CudaSlice, ValidAsZeroBits};
use half::f16;
use lexpeak::cuda::kernels::{
    Attention, AttentionArgs, Cost, DeviceColumns, DeviceRows, DeviceSlots, DeviceTiles,
    DeviceTokens, Element, EmbedLn, EmbedLnArgs, Epilogue, Gemm, GemmArgs, HeadColumns,
    L2Normalize, L2NormalizeArgs, LayerNorm, LayerNormArgs, QueryTiles, RowShape, Sparsify,
    SparsifyArgs, SpladeHead, SpladeHeadArgs, TokenHead, TokenHeadArgs, TopK, TopKArgs,
};
use lexpeak::cuda::{Gpu, KernelImage, kernel_images, kernel_resources};
use lexpeak::{Activation, Pooling};

use crate::resources::blocks;
use crate::rig::Rig;
use crate::values::{Numbers, upload};

const README: &str = include_str!("../../kernels/README.md");

/// BERT-base with a SPLADE head.
const LAYERS: usize = 12;
const HIDDEN: usize = 768;
const HEADS: usize = 12;
const HEAD_SIZE: usize = 64;
const FFN: usize = 3072;
const PLACES: usize = 512;
const TERMS: usize = 30_522;
const HEAD: lexpeak::SpladeHead = lexpeak::SpladeHead {
    pooling: Pooling::Max,
    activation: Activation::Relu,
};

/// Hidden size of BGE-M3, for the kernels of its heads.
const M3_HIDDEN: usize = 1024;

/// Tokens of a document, terms that sparsify keeps of it, and those of them that topk does.
const LENGTH: usize = 128;
const KEPT: usize = 200;
const K: usize = 100;

/// Documents of a batch; and of the part of it in which larger launches than these are counted, for they take their time.
const BATCH: usize = 128;
const PART: usize = 2;
const LARGE_FLOPS: u64 = 1_000_000_000;

/// The nvcc whose instructions and registers the README has; those of another are others. It is named in machine code.
const COMPILER: &str = "V13.0.88";

/// What a GPU does in a second, at most.
struct Limits {
    flops: f64,
    bytes: f64,
}

/// `mma.sync` reaches about 63 % of the nominal 989 TFLOP/s (arXiv 2402.13499), a copy within memory 3.0 TB/s: reported.
const H100: Limits = Limits {
    flops: 620e12,
    bytes: 3.0e12,
};
/// NVIDIA's data sheet of the A100 with 80 GB, SXM: nominal.
const A100: Limits = Limits {
    flops: 312e12,
    bytes: 2.039e12,
};

/// What passes on an H100 between two kernels of which one waits for the other, at least: reported. A kernel that moves
/// its bytes in less is bound by neither limit.
const LATENCY: f64 = 1.3e-6;

impl Limits {
    fn seconds(&self, cost: Cost) -> f64 {
        (cost.flops as f64 / self.flops).max(cost.bytes as f64 / self.bytes)
    }

    fn bound(&self, cost: Cost) -> &'static str {
        if self.seconds(cost) < LATENCY {
            "latency"
        } else if cost.flops as f64 / self.flops < cost.bytes as f64 / self.bytes {
            "memory"
        } else {
            "tensor cores"
        }
    }
}

/// A launch of the forward pass.
struct Step<'a> {
    name: &'static str,
    /// Of its kind in a pass.
    launches: usize,
    cost: Cost,
    launch: Box<dyn Fn() -> lexpeak::Result<()> + 'a>,
}

/// Some documents. What is computed of them does not matter: nothing that is counted depends on it.
struct Batch<'a> {
    gpu: &'a Gpu,
    documents: usize,
}

impl<'a> Batch<'a> {
    fn tokens(&self) -> usize {
        self.documents * LENGTH
    }

    /// Those of `src/cuda/forward.rs` and of the head in `src/cuda/engine.rs`, in their order.
    fn steps(&self) -> Vec<Step<'a>> {
        use Epilogue::{Bias, BiasGelu, BiasResidual};
        vec![
            self.embed_ln(),
            self.gemm("gemm: Q, K and V", LAYERS, Bias, [3 * HIDDEN, HIDDEN]),
            self.attention(),
            self.gemm("gemm: output", LAYERS, BiasResidual, [HIDDEN, HIDDEN]),
            self.layer_norm(),
            self.gemm("gemm: FFN up", LAYERS, BiasGelu, [FFN, HIDDEN]),
            self.gemm("gemm: FFN down", LAYERS, BiasResidual, [HIDDEN, FFN]),
            self.gemm("gemm: transform", 1, BiasGelu, [HIDDEN, HIDDEN]),
            self.splade_head(),
            self.sparsify(),
            self.topk(),
        ]
    }

    /// Those of BGE-M3's heads, which are not in that pass.
    fn m3_steps(&self) -> Vec<Step<'a>> {
        vec![self.token_head(), self.l2_normalize()]
    }

    fn embed_ln(&self) -> Step<'a> {
        let (gpu, tokens, row) = (self.gpu, self.tokens(), RowShape::new(HIDDEN).unwrap());
        let kernel = EmbedLn::load(gpu, row).unwrap();
        let numbers = |below: usize| -> Vec<u32> {
            (0..tokens)
                .map(|token| (token * 7919 % below) as u32)
                .collect()
        };
        let (ids, positions) = (numbers(TERMS), numbers(LENGTH));
        Step {
            name: "embed_ln",
            launches: 1,
            cost: kernel.cost(tokens),
            launch: Box::new(move || {
                let (ids, positions) = (upload(gpu, &ids), upload(gpu, &positions));
                kernel.launch(EmbedLnArgs {
                    // SAFETY: that is what they are below.
                    tokens: unsafe {
                        DeviceTokens::new(ids.as_view(), positions.as_view(), TERMS, LENGTH)
                    },
                    words: zeros(gpu, TERMS * HIDDEN).as_view(),
                    places: zeros(gpu, PLACES * HIDDEN).as_view(),
                    scale: zeros(gpu, HIDDEN).as_view(),
                    shift: zeros(gpu, HIDDEN).as_view(),
                    out: zeros(gpu, tokens * HIDDEN).as_view_mut(),
                    eps: 1e-12,
                })
            }),
        }
    }

    fn layer_norm(&self) -> Step<'a> {
        let (gpu, tokens, row) = (self.gpu, self.tokens(), RowShape::new(HIDDEN).unwrap());
        let kernel = LayerNorm::<f16>::load(gpu, row).unwrap();
        Step {
            name: "layer_norm",
            launches: 2 * LAYERS + 1,
            cost: kernel.cost(tokens),
            launch: Box::new(move || {
                kernel.launch(LayerNormArgs {
                    sums: zeros(gpu, tokens * HIDDEN).as_view(),
                    scale: zeros(gpu, HIDDEN).as_view(),
                    shift: zeros(gpu, HIDDEN).as_view(),
                    out: zeros(gpu, tokens * HIDDEN).as_view_mut(),
                    eps: 1e-12,
                })
            }),
        }
    }

    fn gemm(
        &self,
        name: &'static str,
        launches: usize,
        epilogue: Epilogue,
        [outputs, inputs]: [usize; 2],
    ) -> Step<'a> {
        let (gpu, tokens) = (self.gpu, self.tokens());
        let kernel = Gemm::<f16>::load(gpu, epilogue).unwrap();
        Step {
            name,
            launches,
            cost: kernel.cost(tokens, outputs, inputs),
            launch: Box::new(move || {
                let with_residual = epilogue == Epilogue::BiasResidual;
                let residual = with_residual.then(|| zeros(gpu, tokens * outputs));
                kernel.launch(GemmArgs {
                    x: zeros(gpu, tokens * inputs).as_view(),
                    weight: zeros(gpu, outputs * inputs).as_view(),
                    bias: zeros(gpu, outputs).as_view(),
                    residual: residual.as_ref().map(CudaSlice::as_view),
                    out: zeros(gpu, tokens * outputs).as_view_mut(),
                })
            }),
        }
    }

    fn attention(&self) -> Step<'a> {
        let (gpu, tokens) = (self.gpu, self.tokens());
        let kernel = Attention::<f16>::load(gpu, HEAD_SIZE).unwrap();
        let ends: Vec<u32> = (0..=tokens as u32).step_by(LENGTH).collect();
        let tiles = QueryTiles::cut(&ends).unwrap();
        Step {
            name: "attention",
            launches: LAYERS,
            cost: kernel.cost(&tiles, HEADS),
            launch: Box::new(move || {
                let words = upload(gpu, tiles.words());
                kernel.launch(AttentionArgs {
                    // SAFETY: its words were copied just now.
                    tiles: unsafe { DeviceTiles::new(&tiles, words.as_view()) },
                    qkv: zeros(gpu, tokens * 3 * HIDDEN).as_view(),
                    context: zeros(gpu, tokens * HIDDEN).as_view_mut(),
                    heads: HEADS,
                })
            }),
        }
    }

    fn splade_head(&self) -> Step<'a> {
        let (gpu, tokens, documents) = (self.gpu, self.tokens(), self.documents);
        let kernel = SpladeHead::load(gpu, HEAD.pooling, HEAD.activation, false).unwrap();
        let mut host = HeadColumns::new();
        let rows: Vec<u32> = (0..tokens as u32).collect();
        rows.chunks(LENGTH).for_each(|document| host.push(document));
        Step {
            name: "splade_head",
            launches: 1,
            cost: kernel.cost(&host, TERMS, HIDDEN),
            launch: Box::new(move || {
                let words = upload(gpu, &host.words().concat());
                kernel.launch(SpladeHeadArgs {
                    hidden: zeros(gpu, tokens * HIDDEN).as_view(),
                    decoder: zeros(gpu, TERMS * HIDDEN).as_view(),
                    bias: zeros(gpu, TERMS).as_view(),
                    // SAFETY: its words were copied just now.
                    columns: unsafe { DeviceColumns::new(&host, words.as_view()) },
                    pooled: zeros(gpu, documents * Sparsify::stride(TERMS)).as_view_mut(),
                    positions: None,
                })
            }),
        }
    }

    fn sparsify(&self) -> Step<'a> {
        let (gpu, documents) = (self.gpu, self.documents);
        let kernel = Sparsify::load(gpu, HEAD).unwrap();
        let entries = documents * KEPT;
        let mut row = vec![-1.0_f32; Sparsify::stride(TERMS)];
        kept_terms().for_each(|term| row[term as usize] = 1.0);
        let pooled = row.repeat(documents);
        Step {
            name: "sparsify",
            launches: 1,
            cost: kernel.cost(documents, TERMS, entries, false),
            launch: Box::new(move || {
                kernel.launch(SparsifyArgs {
                    pooled: upload(gpu, &pooled).as_view(),
                    bias: zeros(gpu, Sparsify::stride(TERMS)).as_view(),
                    positions: None,
                    terms: TERMS,
                    threshold: 0.0,
                    total: upload(gpu, &[0]).as_view_mut(),
                    starts: upload(gpu, &vec![0; documents]).as_view_mut(),
                    counts: upload(gpu, &vec![0; documents]).as_view_mut(),
                    damaged: upload(gpu, &vec![0; documents]).as_view_mut(),
                    ids: upload(gpu, &vec![0; entries]).as_view_mut(),
                    values: zeros(gpu, entries).as_view_mut(),
                })
            }),
        }
    }

    fn topk(&self) -> Step<'a> {
        let (gpu, documents) = (self.gpu, self.documents);
        let kernel = TopK::load(gpu).unwrap();
        let entries = documents * KEPT;
        let starts: Vec<u32> = (0..entries as u32).step_by(KEPT).collect();
        let ids: Vec<u32> = (0..documents).flat_map(|_| kept_terms()).collect();
        let mut numbers = Numbers::named("map", documents);
        let mut weight = || (numbers.uniform(1.5) as f32 + 1.5).max(1e-6);
        let weights: Vec<f32> = (0..entries).map(|_| weight()).collect();
        Step {
            name: "topk",
            launches: 1,
            cost: kernel.cost(documents, entries, documents * K, false),
            launch: Box::new(move || {
                kernel.launch(TopKArgs {
                    starts: upload(gpu, &starts).as_view(),
                    counts: upload(gpu, &vec![KEPT as u32; documents]).as_view_mut(),
                    ids: upload(gpu, &ids).as_view_mut(),
                    values: upload(gpu, &weights).as_view_mut(),
                    positions: None,
                    k: K,
                })
            }),
        }
    }

    /// For sparse rows alone: every token but the first and the last of a document weighs an id of its own.
    fn token_head(&self) -> Step<'a> {
        let (gpu, tokens, row) = (self.gpu, self.tokens(), RowShape::new(M3_HIDDEN).unwrap());
        let kernel = TokenHead::<f16>::load(gpu, row).unwrap();
        let mut terms = 0;
        let mut slot = |token: usize| {
            let special = [0, LENGTH - 1].contains(&(token % LENGTH));
            terms += u32::from(!special);
            if special {
                DeviceSlots::NONE
            } else {
                terms - 1
            }
        };
        let slots: Vec<u32> = (0..tokens).map(&mut slot).collect();
        let terms = terms as usize;
        Step {
            name: "token_head",
            launches: 1,
            cost: kernel.cost(tokens, terms, false),
            launch: Box::new(move || {
                let slots = upload(gpu, &slots);
                kernel.launch(TokenHeadArgs {
                    sums: zeros(gpu, tokens * M3_HIDDEN).as_view(),
                    scale: zeros(gpu, M3_HIDDEN).as_view(),
                    shift: zeros(gpu, M3_HIDDEN).as_view(),
                    weight: zeros(gpu, M3_HIDDEN).as_view(),
                    bias: upload(gpu, &[1.0]).as_view(),
                    // SAFETY: that is what they were counted to.
                    slots: unsafe { DeviceSlots::new(slots.as_view(), terms) },
                    out: None,
                    weights: zeros(gpu, terms).as_view_mut(),
                    eps: 1e-5,
                })
            }),
        }
    }

    /// For the vectors of all tokens but the first of a document.
    fn l2_normalize(&self) -> Step<'a> {
        let (gpu, tokens, row) = (self.gpu, self.tokens(), RowShape::new(M3_HIDDEN).unwrap());
        let kernel = L2Normalize::<f16>::load(gpu, row).unwrap();
        let rows: Vec<u32> = (0..tokens as u32)
            .filter(|token| token % LENGTH as u32 != 0)
            .collect();
        Step {
            name: "l2_normalize",
            launches: 1,
            cost: kernel.cost(rows.len(), M3_HIDDEN),
            launch: Box::new(move || {
                let numbers = upload(gpu, &rows);
                kernel.launch(L2NormalizeArgs {
                    x: zeros(gpu, tokens * M3_HIDDEN).as_view(),
                    // SAFETY: they are tokens.
                    rows: unsafe { DeviceRows::new(numbers.as_view(), tokens) },
                    width: M3_HIDDEN,
                    out: zeros(gpu, rows.len() * M3_HIDDEN).as_view_mut(),
                })
            }),
        }
    }
}

/// Spread over the vocabulary.
fn kept_terms() -> impl Iterator<Item = u32> {
    (0..KEPT).map(|i| (i * TERMS / KEPT) as u32)
}

fn zeros<T: Element + ValidAsZeroBits>(gpu: &Gpu, len: usize) -> CudaSlice<T> {
    gpu.stream().alloc_zeros(len).expect("there is room")
}

fn roofs(steps: &[Step<'_>], others: &[Step<'_>]) -> String {
    let mut table = "\
| kernel | launches | MB | GFLOP | bound by | H100 | A100 | share |
|---|--:|--:|--:|---|--:|--:|--:|
"
    .to_owned();
    let over_a_pass = |of: &dyn Fn(Cost) -> f64| -> f64 {
        let all = steps.iter();
        all.map(|step| step.launches as f64 * of(step.cost)).sum()
    };
    let pass = over_a_pass(&|cost| H100.seconds(cost));
    let row = |step: &Step<'_>, share: &str| {
        let Step {
            name,
            launches,
            cost,
            ..
        } = step;
        let [h100, a100] = [H100, A100].map(|gpu| gpu.seconds(*cost));
        format!(
            "| {name} | {launches} | {:.1} | {:.1} | {} | {:.1} µs | {:.1} µs |{share} |\n",
            cost.bytes as f64 / 1e6,
            cost.flops as f64 / 1e9,
            H100.bound(*cost),
            h100 * 1e6,
            a100 * 1e6,
        )
    };
    for step in steps {
        let share = 100.0 * step.launches as f64 * H100.seconds(step.cost) / pass;
        table += &row(step, &format!(" {share:.1} %"));
    }
    let [h100, a100] = [H100, A100].map(|gpu| over_a_pass(&|cost| gpu.seconds(cost)));
    let rate = |seconds: f64| (BATCH * LENGTH) as f64 / seconds / 1e6;
    let _ = writeln!(
        table,
        "| **a pass** | {} | {:.0} | {:.0} | | {:.2} ms | {:.2} ms | |\n\
         | **tokens a second** | | | | | {:.2} M | {:.2} M | |",
        steps.iter().map(|step| step.launches).sum::<usize>(),
        over_a_pass(&|cost| cost.bytes as f64) / 1e6,
        over_a_pass(&|cost| cost.flops as f64) / 1e9,
        h100 * 1e3,
        a100 * 1e3,
        rate(h100),
        rate(a100),
    );
    for step in others {
        table += &row(step, "");
    }
    table
}

/// Registers and blocks of a kernel on an A100 and an H100.
fn residence(kernel: &str) -> [String; 2] {
    let of = |what: fn(&_) -> u32| {
        let on = |target: &str| {
            let mut rows = kernel_resources().iter();
            let row = rows.find(|row| row.kernel == kernel && row.target == target);
            what(row.expect("the build has it"))
        };
        format!("{}, {}", on("sm_80"), on("sm_90a"))
    };
    [of(|row| row.registers), of(blocks)]
}

/// `None` on a real GPU.
fn counters(rig: &Rig, batch: &[Step<'_>], part: &[Step<'_>]) -> Option<String> {
    let mut table = "\
| kernel | documents | bytes | sectors | waves | mma | registers | blocks |
|---|--:|--:|--:|--:|--:|--:|--:|
"
    .to_owned();
    for (whole, part) in batch.iter().zip(part) {
        let large = whole.cost.flops > LARGE_FLOPS;
        let (step, documents) = if large { (part, PART) } else { (whole, BATCH) };
        (step.launch)().expect("the operands fit");
        let launch = rig.last_launch()?;
        let counters = launch.record.counters;
        let sectors = counters.global_load_sectors + counters.global_store_sectors;
        let share = |part: u64, whole: u64| match whole {
            0 => String::new(),
            _ => format!("{:.0} %", 100.0 * part as f64 / whole as f64),
        };
        let [registers, blocks] = residence(&launch.kernel);
        let _ = writeln!(
            table,
            "| {} | {documents} | {:.2} | {} | {} | {} | {registers} | {blocks} |",
            step.name,
            32.0 * sectors as f64 / step.cost.bytes as f64,
            share(
                counters.global_load_bytes,
                32 * counters.global_load_sectors
            ),
            share(counters.shared_waves, counters.shared_ideal_waves),
            share(counters.mma, counters.warp_instructions),
        );
    }
    rig.assert_sound();
    Some(table)
}

fn assert_in_readme(name: &str, table: &str) {
    let begin = format!("<!-- {name}: printed by cargo test --release --test kernels map -->");
    let end = format!("<!-- end of {name} -->");
    assert!(
        README.contains(&format!("{begin}\n{table}{end}")),
        "kernels/README.md is behind. Between its lines\n{begin}\n{end}\nbelongs:\n\n{table}"
    );
}

#[test]
fn roofs_are_in_the_readme() {
    let rig = Rig::new();
    let batch = Batch {
        gpu: &rig.gpu,
        documents: BATCH,
    };
    assert_in_readme("roofs", &roofs(&batch.steps(), &batch.m3_steps()));
}

#[test]
fn counters_are_in_the_readme() {
    let rig = Rig::new();
    let compiled = |image: &KernelImage| {
        let mut words = image.fatbin.windows(COMPILER.len());
        words.any(|word| word == COMPILER.as_bytes())
    };
    if !kernel_images().iter().all(compiled) {
        return eprintln!("not compared: another nvcc than {COMPILER} compiled the kernels");
    }
    let all = |documents| {
        let batch = Batch {
            gpu: &rig.gpu,
            documents,
        };
        let mut steps = batch.steps();
        steps.extend(batch.m3_steps());
        steps
    };
    match counters(&rig, &all(BATCH), &all(PART)) {
        Some(table) => assert_in_readme("counters", &table),
        None => eprintln!("a GPU has no such counters: only the stand-in does"),
    }
}
