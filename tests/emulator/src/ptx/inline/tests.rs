use std::collections::HashMap;

use super::*;
use crate::exec::Dimensions;
use crate::exec::testing::run_cluster;
use crate::isa::decode;
use crate::memory::GlobalMemory;
use crate::ptx::Source;

/// A module with these functions and the kernel `k`, whose `%r0` is the number of the thread and whose parameter `out` has a
/// word for each.
fn module(functions: &str, body: &str) -> Module {
    let text = format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n{functions}\n.visible .entry k(.param .u64 out) {{\n\
        .reg .pred %p<8>;\n.reg .b32 %r<32>;\n.reg .b64 %rd<8>;\nmov.u32 %r0, %tid.x;\n{body}\n\
        mul.wide.u32 %rd1, %r0, 4;\nld.param.u64 %rd2, [out];\nadd.s64 %rd3, %rd1, %rd2;\nst.global.u32 [%rd3], %r31;\nret;\n}}\n"
    );
    Module::parse(&text).unwrap()
}

/// `to = name(from)` as nvcc writes it.
fn call(name: &str, to: &str, from: &str) -> String {
    format!(
        "{{ .param .b32 param0; st.param.b32 [param0+0], {from}; .param .b32 retval0;\n\
        call.uni (retval0), {name}, (param0); ld.param.b32 {to}, [retval0+0]; }}\n"
    )
}

/// `.func name` whose body begins with its parameter in `%r1` and gives back `%r2` where it says so.
fn function(name: &str, body: &str) -> String {
    format!(
        ".func (.param .b32 ret) {name}(.param .b32 x) {{ .reg .pred %p<4>; .reg .b32 %r<8>;\n\
        ld.param.u32 %r1, [x];\n{body}\n}}\n"
    )
}

const GIVE: &str = "st.param.b32 [ret+0], %r2; ret;";

/// What the threads of a warp leave in `out`.
fn run(module: &Module) -> Vec<u32> {
    let kernel = decode(module, &module.entries[0], &HashMap::new()).unwrap();
    let mut memory = GlobalMemory::new(0x10_0000, 1 << 30);
    let out = memory.allocate(128).unwrap();
    let dimensions = Dimensions {
        grid: [1; 3],
        block: [32, 1, 1],
        cluster: None,
        dynamic_shared: 0,
    };
    let parameters = out.to_le_bytes();
    let outcome = run_cluster(&kernel, memory.view(), dimensions, &parameters, |_| {});
    assert_eq!(outcome.faults, []);
    let mut bytes = [0; 128];
    memory.view().allocation(0).read(0, &mut bytes);
    bytemuck::pod_collect_to_vec(&bytes)
}

fn expected(of_thread: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..32).map(of_thread).collect()
}

/// The error of loading it.
fn refused(module: &Module) -> String {
    decode(module, &module.entries[0], &HashMap::new())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_kernel_without_calls_stays_as_it_is() {
    let module = module("", "mov.u32 %r31, 0;");
    let expanded = expand(&module, &module.entries[0]).unwrap();
    assert!(matches!(expanded, Cow::Borrowed(_)));
}

#[test]
fn every_copy_has_labels_of_its_own() {
    // 3 * x by a loop, called twice.
    let loops = "mov.u32 %r2, 0; mov.u32 %r3, 3; again: add.s32 %r2, %r2, %r1; sub.s32 %r3, %r3, 1; \
        setp.gt.s32 %p1, %r3, 0; @%p1 bra again; bra done; done:";
    let triple = function("triple", &format!("{loops} {GIVE}"));
    let body = call("triple", "%r1", "%r0") + &call("triple", "%r31", "%r1");
    assert_eq!(run(&module(&triple, &body)), expected(|thread| 9 * thread));
}

#[test]
fn calls_inside_each_other() {
    let add_one = function("add_one", &format!("add.s32 %r2, %r1, 1; {GIVE}"));
    let inner = call("add_one", "%r3", "%r1") + &call("add_one", "%r4", "%r3");
    let twice = function(
        "twice",
        &format!("{inner} mad.lo.s32 %r2, %r3, 100, %r4; {GIVE}"),
    );
    let body = call("twice", "%r31", "%r0");
    let module = module(&(add_one + &twice), &body);
    assert_eq!(run(&module), expected(|x| 100 * (x + 1) + x + 2));
}

#[test]
fn lanes_that_return_early_meet_the_others_at_the_end() {
    let early = format!(
        "mov.u32 %r2, 7; setp.lt.u32 %p1, %r1, 9; @%p1 st.param.b32 [ret+0], %r2; @%p1 ret; mov.u32 %r2, 8; {GIVE}"
    );
    // The vote is by all lanes, which a lane that is still away would be missed by.
    let body = call("early", "%r3", "%r0")
        + "setp.eq.u32 %p2, %r3, 7; vote.sync.ballot.b32 %r31, %p2, -1;";
    let module = module(&function("early", &early), &body);
    assert_eq!(run(&module), expected(|_| 0x1ff));
}

#[test]
fn a_call_under_a_guard() {
    let set =
        ".func store(.param .b64 to) { .reg .b64 %a; ld.param.u64 %a, [to]; st.u32 [%a], 5; ret; }";
    let body = ".local .align 4 .b8 place[4]; mov.u64 %rd4, place; cvta.local.u64 %rd4, %rd4; mov.u32 %r5, 1; \
        st.local.u32 [place], %r5; setp.gt.u32 %p1, %r0, 3;\n\
        { .param .b64 param0; st.param.b64 [param0], %rd4; @!%p1 call store, (param0); } ld.local.u32 %r31, [place];";
    let expected = expected(|thread| if thread > 3 { 1 } else { 5 });
    assert_eq!(run(&module(set, body)), expected);
}

#[test]
fn narrow_values_are_filled_up() {
    let narrow = ".func (.param .b32 ret) f(.param .b32 x, .param .align 4 .b8 s[8]) { .reg .b32 %r<8>;\n\
        ld.param.s8 %r1, [x]; ld.param.u16 %r2, [s]; ld.param.v2.u8 {%r3, %r4}, [s+4];\n\
        add.s32 %r1, %r1, %r2; add.s32 %r1, %r1, %r3; add.s32 %r1, %r1, %r4; st.param.b32 [ret], %r1; ret; }";
    let body = ".reg .b64 %w; mov.u64 %w, 0x1ffff0001; mov.u32 %r1, 0x1fe;\n\
        { .param .b32 a; .param .align 4 .b8 b[8]; .param .b32 c;\n\
        st.param.b32 [a], %r1; st.param.b16 [b], %w; st.param.v2.b8 [b+4], {%r1, 3}; call (c), f, (a, b);\n\
        ld.param.b32 %r31, [c]; }";
    let module = module(narrow, body);
    // -2, 1, 254 and 3.
    assert_eq!(run(&module), expected(|_| 256));
    let expanded = expand(&module, &module.entries[0]).unwrap();
    assert!(expanded.local.is_empty(), "all of it fits registers");
}

#[test]
fn what_is_read_in_other_pieces_lies_in_memory() {
    let swap = ".func (.param .align 4 .b8 ret[4]) f(.param .align 4 .b8 x[4]) { .reg .b32 %r<4>; .reg .b64 %rd<4>;\n\
        mov.u64 %rd1, x; ld.local.u16 %r1, [%rd1+2]; ld.param.u16 %r2, [x];\n\
        st.param.b16 [ret], %r1; st.param.b16 [ret+2], %r2; ret; }";
    let body = "{ .param .align 4 .b8 a[4]; .param .align 4 .b8 b[4]; mad.lo.u32 %r1, %r0, 65536, 9;\n\
        st.param.b32 [a], %r1; call (b), f, (a); ld.param.b32 %r31, [b]; }";
    let module = module(swap, body);
    assert_eq!(run(&module), expected(|thread| 9 << 16 | thread));
    let expanded = expand(&module, &module.entries[0]).unwrap();
    let names: Vec<_> = expanded.local.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["a#0", "b#1"]);
}

#[test]
fn an_alias_stands_for_its_function() {
    let functions = function("one", &format!("add.s32 %r2, %r1, 1; {GIVE}")) + ".alias other, one;";
    let module = module(&functions, &call("other", "%r31", "%r0"));
    assert_eq!(run(&module), expected(|thread| thread + 1));
}

#[test]
fn shared_variables_of_a_function_are_one_for_all_copies() {
    let keep = format!(".shared .b32 kept; {{ .reg .b32 %r3; ld.shared.u32 %r3, [kept]; }} {GIVE}");
    let body = call("keep", "%r1", "%r0") + &call("keep", "%r2", "%r0");
    let module = module(&function("keep", &keep), &body);
    let expanded = expand(&module, &module.entries[0]).unwrap();
    assert_eq!(expanded.shared.len(), 1);
}

#[test]
fn source_lines_name_the_call_in_the_kernel() {
    let inner = function("inner", &format!(".loc 2 5 1\nadd.s32 %r2, %r1, 1; {GIVE}"));
    let outer = format!(".loc 1 30 1\n{} {GIVE}", call("inner", "%r2", "%r1"));
    let functions = inner + &function("outer", &outer);
    let module = module(
        &functions,
        &format!(".loc 1 70 3\n{}", call("outer", "%r31", "%r0")),
    );
    let expanded = expand(&module, &module.entries[0]).unwrap();
    let added = expanded
        .instructions
        .iter()
        .find(|one| one.text.starts_with("add.s32"));
    let source = Source {
        file: 2,
        line: 5,
        inlined_at: Some((1, 70)),
    };
    assert_eq!(added.unwrap().source, Some(source));
}

#[test]
fn what_nobody_calls_is_no_obstacle() {
    let odd = ".func odd(.reg .b32 x) { nonsense } .func declared(.param .b32 x);\n\
        .func lost() { call lost; }";
    let one = function("one", &format!("add.s32 %r2, %r1, 1; {GIVE}"));
    let body = call("one", "%r31", "%r0");
    assert_eq!(
        run(&module(&(odd.to_owned() + &one), &body)),
        expected(|thread| thread + 1)
    );
    let refusals = [
        ("call odd;", "'.param' is expected"),
        ("{ .param .b32 a; call declared, (a); }", "only declared"),
        ("call lost;", "recursion"),
        ("call one;", "arguments of []"),
        ("call k;", "no function k"),
        ("call (%r1), one, (%r0);", "only .param variables"),
        ("call %rd1, ();", "only direct calls"),
    ];
    for (body, reason) in refusals {
        let functions = odd.to_owned() + &one;
        let error = refused(&module(&functions, body));
        assert!(
            error.contains(reason) && error.contains("kernel k, line"),
            "{error}"
        );
    }
}

#[test]
fn recursion_over_several_functions() {
    let declared = ".func (.param .b32 ret) ping(.param .b32 x);\n";
    let pong = function("pong", &format!("{} {GIVE}", call("ping", "%r2", "%r1")));
    let ping = function("ping", &format!("{} {GIVE}", call("pong", "%r2", "%r1")));
    let functions = declared.to_owned() + &pong + &ping;
    let error = refused(&module(&functions, &call("pong", "%r31", "%r0")));
    assert!(error.contains("pong calls itself"), "{error}");
}

/// `f0` calls nothing, every other function calls the one before it twice.
fn doubling(depth: usize, innermost: &str) -> Module {
    let mut functions = format!(".func f0() {{ {innermost} }}\n");
    for level in 1..=depth {
        functions += &format!(".func f{level}() {{ call f{0}; call f{0}; }}\n", level - 1);
    }
    module(&functions, &format!("call f{depth};"))
}

#[test]
fn growth_without_end_is_refused() {
    for (innermost, limit) in [
        ("", "instructions"),
        ("ret;", "instructions"),
        (".reg .b32 %r<60>;", "registers of one class"),
        (
            ".reg .b32 %a<20>; .reg .b64 %b<20>; .reg .pred %c<20>; bra l; l: bra m; m:",
            "too many registers",
        ),
        (".local .b8 l[64];", "bytes of local memory"),
        (".param .b8 l[64];", "bytes of local memory"),
    ] {
        let error = refused(&doubling(50, innermost));
        assert!(error.contains(limit), "{innermost}: {error}");
    }
    assert!(refused(&doubling(65, "")).contains("inside each other"));
    let few = doubling(10, "bra l; l:");
    let expanded = expand(&few, &few.entries[0]).unwrap();
    assert!(expanded.instructions.len() > 1 << 10);
}

#[test]
fn branch_tables_count_for_what_they_are() {
    let targets = "l, ".repeat(1 << 16);
    let table = format!(".reg .b32 %r1; t: .branchtargets {targets} l; brx.idx %r1, t; l:");
    assert!(refused(&doubling(20, &table)).contains("instructions"));
}
