//! Texts that nobody compiles: an error is an answer, a panic or a long wait is not.

use std::time::{Duration, Instant};

use super::*;

/// One of everything, to be damaged.
const SAMPLE: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n.file 1 \"a.cu\"\n\
    .extern .shared .align 16 .b8 s[];\n\
    .global .align 8 .u64 g[2] = {generic(s)+4, 0f3F800000};\n\
    .const .align 1 .b8 m[8] = {0xFF(g), 0xFF00(g), 0xFF0000(g), 0xFF000000(g), 0xFF00000000(g), \
    0xFF0000000000(g), 0xFF000000000000(g), 0xFF00000000000000(g)};\n\
    .func (.param .b32 r) f(.param .b32 a) { ret; }\n\
    .visible .entry k(.param .u64 p, .param .align 8 .b8 q[16])\n.maxntid 128, 1, 1\n{\n\
    .reg .pred %p<4>;\n.reg .b32 %r<9>;\n.reg .b64 %rd<5>;\n.local .align 4 .b8 d[28];\n\
    .loc 1 9 3, function_name $s, inlined_at 1 48 7\n\
    t: .branchtargets a, b;\n@!%p1 brx.idx %r1, t;\n\
    a: ld.global.v2.u32 {%r1, _}, [%rd1+-4]; /* c */\n\
    { .reg .pred p; setp.eq.f32 p|%p2, %r2, -1.5e-3; @p bra b; }\n\
    cp.tensor.2d [s], [%rd1, {%r1, %r2}], [%r3];\n\
    b: call (d), f, (q);\nmov.u32 %r1, %tid.x;\n}\n.section .debug_str { .b8 0 }\n";

#[test]
fn the_sample_is_sound() {
    assert_eq!(
        Module::parse(SAMPLE).unwrap().entries[0].instructions.len(),
        7
    );
}

#[test]
fn every_beginning_is_an_answer() {
    let whole = SAMPLE.len();
    let sound = (0..whole)
        .filter(|&end| Module::parse(&SAMPLE[..end]).is_ok())
        .count();
    assert!(sound < whole / 2, "half a kernel passed for a whole one");
}

#[test]
fn sizes_that_would_take_all_memory() {
    for text in [
        ".global .b8 a[9223372036854775807] = {1};",
        ".global .b8 a[2][4611686018427387903] = {{1}, {2}};",
        ".entry k() { .reg .b64 %r<4294967295>; }",
    ] {
        if let Ok(module) = module(text) {
            assert!(
                module
                    .globals
                    .iter()
                    .all(|global| global.initial.len() < 16),
                "{text}"
            );
        }
    }
}

/// Ten times the text may take about ten times as long, not a hundred times.
#[test]
fn no_text_takes_long() {
    let many = 60_000;
    let repeat = |unit: &str| unit.repeat(many);
    let numbered = |write: &dyn Fn(usize) -> String| (0..many).map(write).collect::<String>();
    let table = format!("t: .branchtargets {} l; l: ", repeat("l,"));
    for (name, body) in [
        ("scopes", repeat("{")),
        ("labels", numbered(&|n| format!("l{n}:"))),
        (
            "branches",
            numbered(&|n| format!("bra l{};", n + 1)) + &numbered(&|n| format!("l{}:", n + 1)),
        ),
        (
            "nested scopes",
            "{".repeat(60) + &repeat("bra out;") + &"}".repeat(60) + "out:",
        ),
        (
            "ranges",
            numbered(&|n| format!(".reg .b32 a{n}x<1>;")) + &repeat("mov.b32 a7x0, a9x0;"),
        ),
        ("tables", table + ".reg .b32 r;" + &repeat("brx.idx r, t;")),
        ("one long name", format!("bra {}", repeat("name"))),
        (
            "one long vector",
            format!("mov.b32 {{{}_}}, 1;", repeat("_, ")),
        ),
        ("comments", repeat("/* */")),
        (
            "locations",
            numbered(&|n| format!(".loc 1 {n} 0, function_name f, inlined_at 1 {} 0\n", n + 1)),
        ),
    ] {
        let start = Instant::now();
        let _ = kernel(&body);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
    }
}

proptest! {
    #[test]
    fn any_text(text in "\\PC*") {
        let _ = Module::parse(&text);
        let _ = kernel(&text);
    }

    #[test]
    fn text_of_ptx_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let text = pieces.concat();
        let _ = module(&text);
        let _ = kernel(&text);
    }

    #[test]
    fn damaged_text(cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::sample::select(PIECES)), 1..4)) {
        let mut text = SAMPLE.to_owned();
        for (at, length, piece) in cuts {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, piece);
        }
        let _ = Module::parse(&text);
    }
}

const PIECES: &[&str] = &[
    "",
    " ",
    "\n",
    ";",
    ",",
    ":",
    "::",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "@",
    "!",
    "|",
    "+",
    "-",
    "=",
    "_",
    "%",
    "$",
    ".",
    "\"",
    "/*",
    "*/",
    "//",
    "0",
    "0x",
    "0f3F800000",
    "0d",
    "1e",
    "4294967296",
    "18446744073709551615",
    "9.",
    "a",
    "%r1",
    "%p1",
    "%tid.x",
    ".reg .b32 ",
    ".reg .pred ",
    ".shared ",
    ".param ",
    ".global ",
    ".align ",
    ".b8 ",
    ".b64 ",
    ".branchtargets ",
    ".callprototype ",
    ".loc 1 2 3",
    ", inlined_at ",
    ".entry ",
    ".func ",
    ".section ",
    ".extern ",
    "bra ",
    "call ",
    "generic(",
];
