use super::fragment::{Fragment, Matrix as Operand, Shape};
use crate::exec::Random;
use crate::exec::machine::{BUFFER, BUFFER_BYTES, Launched, Machine};
use crate::fault::FaultKind::{self, *};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::tensor::Element;
use crate::tensor::reference::{Matrix, Values};

const WARP: (usize, usize) = (0, 0);

/// A product with C and D of these types.
struct Form {
    shape: &'static str,
    element: Element,
    c: &'static str,
    d: &'static str,
}

const SHAPES: [&str; 3] = ["m16n16k16", "m32n8k16", "m8n32k16"];

fn forms() -> Vec<Form> {
    let types = [
        (Element::F16, "f32", "f32"),
        (Element::F16, "f16", "f16"),
        (Element::F16, "f16", "f32"),
        (Element::F16, "f32", "f16"),
        (Element::Bf16, "f32", "f32"),
        (Element::S8, "s32", "s32"),
        (Element::U8, "s32", "s32"),
    ];
    let mut forms = vec![Form {
        shape: "m16n16k8",
        element: Element::Tf32,
        c: "f32",
        d: "f32",
    }];
    for shape in SHAPES {
        forms.extend(types.map(|(element, c, d)| Form {
            shape,
            element,
            c,
            d,
        }));
    }
    forms
}

fn name(element: Element) -> &'static str {
    match element {
        Element::F16 => "f16",
        Element::Bf16 => "bf16",
        Element::Tf32 => "tf32",
        Element::S8 => "s8",
        _ => "u8",
    }
}

/// Registers from `first` on, as many as the operand has.
fn list(first: usize, operand: Operand, shape: &str, kind: &str) -> String {
    let count = Fragment::of(operand, Shape::named(shape).unwrap(), kind)
        .unwrap()
        .registers;
    let names: Vec<String> = (first..first + count).map(|at| format!("%r{at}")).collect();
    format!("{{{}}}", names.join(", "))
}

/// Loads of A, B and C from `%rd1`, `%rd2` and `%rd3`, their product, and a store of D to `%rd4`, one a line; the rows (or columns)
/// `%r1` to `%r4` elements apart where `strides`.
fn program(form: &Form, [a, b, c, d]: [&str; 4], space: &str, strides: bool) -> String {
    let Form { shape, element, .. } = *form;
    let kind = name(element);
    let stride = |at: usize| {
        if strides {
            format!(", %r{at}")
        } else {
            String::new()
        }
    };
    let types = match element {
        Element::F16 => format!("{}.{}", form.d, form.c),
        _ => format!("{}.{kind}.{kind}.{}", form.d, form.c),
    };
    let [of_a, of_b] = [(64, Operand::A), (72, Operand::B)]
        .map(|(first, operand)| list(first, operand, shape, kind));
    let of_c = list(80, Operand::Accumulator, shape, form.c);
    let of_d = list(96, Operand::Accumulator, shape, form.d);
    [
        format!(
            "wmma.load.a.sync.aligned.{a}.{shape}{space}.{kind} {of_a}, [%rd1]{};",
            stride(1)
        ),
        format!(
            "wmma.load.b.sync.aligned.{b}.{shape}{space}.{kind} {of_b}, [%rd2]{};",
            stride(2)
        ),
        format!(
            "wmma.load.c.sync.aligned.{c}.{shape}{space}.{} {of_c}, [%rd3]{};",
            form.c,
            stride(3)
        ),
        format!("wmma.mma.sync.aligned.{a}.{b}.{shape}.{types} {of_d}, {of_a}, {of_b}, {of_c};"),
        format!(
            "wmma.store.d.sync.aligned.{d}.{shape}{space}.{} [%rd4], {of_d}{};",
            form.d,
            stride(4)
        ),
    ]
    .join("\n")
}

/// Bits of a whole number as an accumulator.
fn accumulator(kind: &str, value: f64) -> u32 {
    match kind {
        "f16" => u32::from(half::f16::from_f64(value).to_bits()),
        "f32" => (value as f32).to_bits(),
        _ => value as i32 as u32,
    }
}

/// A tile in memory: elements that fill rows or columns, `stride` apart.
struct Memory<'a> {
    rows: usize,
    columns: usize,
    bytes: usize,
    layout: &'a str,
    stride: usize,
}

impl<'a> Memory<'a> {
    /// With `padding` bytes between rows or columns.
    fn new((rows, columns): (usize, usize), bytes: usize, layout: &'a str, padding: usize) -> Self {
        let dense = if layout == "row" { columns } else { rows };
        Memory {
            rows,
            columns,
            bytes,
            layout,
            stride: dense + padding / bytes,
        }
    }

    fn place(&self, row: usize, column: usize) -> usize {
        let (outer, inner) = match self.layout {
            "row" => (row, column),
            _ => (column, row),
        };
        (outer * self.stride + inner) * self.bytes
    }

    /// No longer than its last element needs, so that an access beyond it is out of bounds.
    fn len(&self) -> usize {
        self.place(self.rows - 1, self.columns - 1) + self.bytes
    }

    fn filled(&self, bits: impl Fn(usize, usize) -> u32) -> Vec<u8> {
        let mut bytes = vec![0xee; self.len()];
        for (row, column) in
            (0..self.rows).flat_map(|row| (0..self.columns).map(move |at| (row, at)))
        {
            let at = self.place(row, column);
            bytes[at..at + self.bytes]
                .copy_from_slice(&bits(row, column).to_le_bytes()[..self.bytes]);
        }
        bytes
    }
}

fn bytes_of(kind: &str) -> usize {
    if kind == "f16" { 2 } else { 4 }
}

/// Runs a product from and to global memory and compares D with its definition; what lies between its rows must be as before.
fn check(form: &Form, layouts: [&str; 4], padding: usize) {
    let Shape { rows, columns, k } = Shape::named(form.shape).unwrap();
    let mut random = Random::new(11, 3);
    let a = Matrix::random(form.element, rows, k, Values::Small, &mut random);
    let b = Matrix::random(form.element, k, columns, Values::Small, &mut random);
    let c: Vec<f64> = (0..rows * columns)
        .map(|_| random.below(101) as f64 - 50.0)
        .collect();
    let bytes = form.element.bytes();
    let memories = [
        Memory::new((rows, k), bytes, layouts[0], padding),
        Memory::new((k, columns), bytes, layouts[1], padding),
        Memory::new((rows, columns), bytes_of(form.c), layouts[2], padding),
        Memory::new((rows, columns), bytes_of(form.d), layouts[3], padding),
    ];
    let contents = [
        memories[0].filled(|row, column| a.bits(row, column)),
        memories[1].filled(|row, column| b.bits(row, column)),
        memories[2].filled(|row, column| accumulator(form.c, c[row * columns + column])),
        vec![0xee; memories[3].len()],
    ];
    let program = program(form, layouts, ".global", padding > 0);
    let mut machine = Machine::new(&program);
    let addresses = contents.map(|bytes| machine.upload(&bytes));
    let mut run = machine.launch(1, 1);
    for (at, (address, memory)) in (1..).zip(addresses.into_iter().zip(&memories)) {
        run.set64(WARP, at, |_| address);
        run.set32(WARP, at, |_| memory.stride as u32);
    }
    (0..5).for_each(|line| run.execute(WARP, line));
    assert_eq!(run.kinds(), [], "{program}");
    assert_eq!(run.counters.mma, 2);
    assert_eq!(
        run.counters.tensor_multiply_adds,
        (rows * columns * k) as u64
    );
    let expected = memories[3].filled(|row, column| {
        let products = (0..k).map(|at| a.value(row, at) * b.value(at, column));
        accumulator(form.d, c[row * columns + column] + products.sum::<f64>())
    });
    let view = machine.memory.view();
    let mut got = vec![0; expected.len()];
    view.allocation(3).read(0, &mut got);
    assert!(got == expected, "{program}");
}

#[test]
fn every_form_is_exact_in_every_layout() {
    for form in forms() {
        for a in ["row", "col"] {
            for b in ["row", "col"] {
                for accumulator in ["row", "col"] {
                    check(&form, [a, b, accumulator, accumulator], 0);
                    check(&form, [a, b, accumulator, "row"], 16);
                }
            }
        }
    }
}

/// The form of the tests of what all have in common.
const F16: Form = Form {
    shape: "m16n16k16",
    element: Element::F16,
    c: "f32",
    d: "f32",
};

/// Tiles of A, B, C and D at 0, 1 KiB, 2 KiB and 4 KiB behind `start`.
fn set(run: &mut Launched<'_>, warp: (usize, usize), start: u64) {
    for (register, offset) in [(1, 0), (2, 1024), (3, 2048), (4, 4096)] {
        run.set64(warp, register, |_| start + offset);
    }
}

fn zeros(run: &mut Launched<'_>) {
    run.block(0, 0).shared.write(BUFFER as usize, &[0; 8192]);
}

#[test]
fn generic_addresses_find_shared_memory() {
    let machine = Machine::new(&program(&F16, ["row", "col", "row", "row"], "", false));
    let mut run = machine.launch(1, 1);
    set(&mut run, WARP, SHARED_WINDOW + u64::from(BUFFER));
    let one = half::f16::ONE.to_bits().to_le_bytes().repeat(512);
    run.block(0, 0).shared.write(BUFFER as usize, &one);
    run.block(0, 0).shared.write(BUFFER as usize + 1024, &one);
    run.block(0, 0)
        .shared
        .write(BUFFER as usize + 2048, &1.0f32.to_le_bytes().repeat(256));
    (0..5).for_each(|line| run.execute(WARP, line));
    assert_eq!(run.kinds(), []);
    let at = BUFFER as usize + 4096;
    assert_eq!(
        run.block(0, 0).shared.bytes(at..at + 1024),
        17.0f32.to_le_bytes().repeat(256)
    );
    run.set64(WARP, 1, |_| LOCAL_WINDOW);
    assert_eq!(run.stop(WARP, 0).kind, InvalidOperand);
}

#[test]
fn integers_wrap_or_stop() {
    for (saturation, expected) in [("", i32::MIN + 15), (".satfinite", i32::MAX)] {
        let list = |first: usize, count: usize| {
            let names: Vec<String> = (first..first + count).map(|at| format!("%r{at}")).collect();
            format!("{{{}}}", names.join(", "))
        };
        let machine = Machine::new(&format!(
            "wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32{saturation} {}, {}, {}, {};",
            list(0, 8),
            list(10, 2),
            list(12, 2),
            list(20, 8),
        ));
        let mut run = machine.launch(1, 1);
        (10..14).for_each(|register| run.set32(WARP, register, |_| 0x0101_0101));
        (20..28).for_each(|register| run.set32(WARP, register, |_| i32::MAX as u32));
        run.execute(WARP, 0);
        for register in 0..8 {
            assert_eq!(
                run.warp(0, 0).narrow[register],
                [expected as u32; 32],
                "{saturation:?}"
            );
        }
    }
}

#[test]
fn rows_are_moved_in_whole_words() {
    let shared = program(&F16, ["row", "col", "row", "row"], ".shared", false);
    let machine = Machine::new(&shared);
    let mut run = machine.launch(1, 1);
    set(&mut run, WARP, u64::from(BUFFER));
    zeros(&mut run);
    // A: four registers of 8 rows of 16 bytes, 32 bytes apart; every second 16 bytes of 256 are two rows of banks.
    run.execute(WARP, 0);
    assert_eq!(
        (
            run.counters.shared_requests,
            run.counters.shared_waves,
            run.counters.shared_ideal_waves
        ),
        (4, 8, 4)
    );
    let mut machine = Machine::new(&shared.replace(".shared", ".global"));
    let base = machine.upload(&[0; 8192]);
    let mut run = machine.launch(1, 1);
    set(&mut run, WARP, base);
    (0..5).for_each(|line| run.execute(WARP, line));
    // Each core touches a sector in eight rows: half of it for halves, all of it for floats.
    assert_eq!(run.counters.global_load_requests, 4 + 4 + 4);
    assert_eq!(run.counters.global_load_sectors, 3 * 4 * 8);
    assert_eq!(run.counters.global_load_bytes, 512 + 512 + 1024);
    assert_eq!(
        (
            run.counters.global_store_requests,
            run.counters.global_store_sectors,
            run.counters.global_store_bytes
        ),
        (4, 32, 1024)
    );
}

#[test]
fn tiles_are_checked() {
    let machine = Machine::new(&program(
        &F16,
        ["row", "col", "row", "row"],
        ".shared",
        true,
    ));
    let mut run = machine.launch(1, 1);
    set(&mut run, WARP, u64::from(BUFFER));
    (1..5).for_each(|register| run.set32(WARP, register, |_| 16));
    run.execute(WARP, 0);
    assert_eq!(run.kinds(), [Uninitialised]);
    zeros(&mut run);
    run.execute(WARP, 0);
    // 24 halves, rows every 48 bytes: CUDA C++ allows it.
    run.set32(WARP, 1, |_| 24);
    run.execute(WARP, 0);
    assert_eq!(run.kinds(), []);
    let mut stops = |register: u16, start: u64, stride: u32, kind: FaultKind, say: &str| {
        run.set64(WARP, register, |_| start);
        run.set32(WARP, register, |_| stride);
        // The store of D, else the load of A.
        let fault = run.stop(WARP, if register == 4 { 4 } else { 0 });
        assert!(fault.kind == kind && fault.message.contains(say), "{fault}");
    };
    let start = u64::from(BUFFER);
    stops(1, start + 16, 16, Misaligned, "multiple of 32");
    stops(1, start, 20, Misaligned, "40 bytes");
    stops(1, start - 32, 16, OutOfBounds, "");
    stops(4, start, 18, Misaligned, "72 bytes");
    let last = start + u64::from(BUFFER_BYTES) - 1024;
    stops(4, last + 64, 16, OutOfBounds, "");
    stops(4, last, 20, OutOfBounds, "");
    run.set32(WARP, 4, |_| 16);
    run.execute(WARP, 4);
    assert_eq!(run.kinds(), []);
}

#[test]
fn lanes_must_agree_and_be_there() {
    let machine = Machine::new(&program(
        &F16,
        ["row", "col", "row", "row"],
        ".shared",
        true,
    ));
    let mut run = machine.launch(1, 1);
    zeros(&mut run);
    set(&mut run, WARP, u64::from(BUFFER));
    (1..5).for_each(|register| run.set32(WARP, register, |_| 16));
    run.set64(WARP, 1, |lane| u64::from(BUFFER) + 32 * (lane / 31));
    assert_eq!(run.stop(WARP, 0).kind, InvalidOperand);
    run.set32(WARP, 2, |lane| 16 + lane / 31);
    assert_eq!(run.stop(WARP, 1).kind, InvalidOperand);
    run.active = 0xffff;
    for line in 2..5 {
        let fault = run.stop(WARP, line);
        assert_eq!((fault.kind, fault.thread[0]), (Divergence, 16), "{fault}");
    }
}

#[test]
fn warps_race_and_lanes_of_one_do_not() {
    let mut machine = Machine::new(&program(&F16, ["row", "col", "row", "col"], "", false));
    let base = machine.upload(&[0; 8192]);
    for start in [SHARED_WINDOW + u64::from(BUFFER), base] {
        let mut run = machine.launch(1, 2);
        zeros(&mut run);
        for warp in [WARP, (0, 1)] {
            set(&mut run, warp, start);
            run.set64(warp, 4, |_| start + 2048);
        }
        // By columns, then by rows: other lanes of the same warp.
        run.execute(WARP, 4);
        run.execute(WARP, 2);
        assert_eq!(run.kinds(), []);
        run.execute((0, 1), 2);
        assert_eq!(run.kinds(), [Race]);
        run.synchronise(0);
        run.execute((0, 1), 2);
        assert_eq!(run.kinds(), []);
    }
}

#[test]
fn unknown_forms_are_refused() {
    for instruction in [
        "wmma.load.a.sync.aligned.row.m8n8k32.global.s4 {%r1}, [%rd1], %r2;",
        "wmma.load.a.sync.aligned.row.m16n16k16.local.s8 {%r1, %r2}, [%rd1], %r2;",
        "wmma.load.d.sync.aligned.row.m16n16k16.s32 {%r1, %r2}, [%rd1], %r2;",
        "wmma.load.c.sync.aligned.row.m16n16k16.bf16 {%r1, %r2, %r3, %r4}, [%rd1], %r2;",
        "wmma.store.c.sync.aligned.row.m16n16k16.f16 [%rd1], {%r1, %r2, %r3, %r4}, %r2;",
        "wmma.mma.sync.aligned.row.col.m8n8k4.rn.f64.f64.f64.f64 {%rd1}, {%rd2}, {%rd3}, {%rd4};",
        "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32.satfinite {%r1}, {%r2}, {%r3}, {%r4};",
        "wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.u8.s32 {%r1}, {%r2}, {%r3}, {%r4};",
        "wmma.mma.sync.aligned.row.col.m16n16k16.f16.bf16.bf16.f16 {%r1}, {%r2}, {%r3}, {%r4};",
    ] {
        let error = Machine::error(instruction);
        assert!(error.contains("does not know this instruction"), "{error}");
    }
    assert!(
        Machine::error("wmma.load.a.sync.aligned.row.m16n16k16.f16 {%r1, %r2}, [%rd1], %r3;")
            .contains("2 registers where 8 are expected")
    );
}
