use super::*;

#[test]
fn guard_opcode_text_and_line() {
    let entry = kernel(" .reg .pred %p<2>;\n .reg .b32 %r<3>;\n @!%p1 ld.shared::cta.v2.b32 \t{%r1, %r2},\n [%r0]; // why").unwrap();
    let instruction = &entry.instructions[0];
    assert_eq!(
        instruction.guard,
        Some(Guard {
            predicate: 1,
            negated: true
        })
    );
    assert_eq!(instruction.opcode, ["ld", "shared::cta", "v2", "b32"]);
    assert_eq!(
        instruction.text,
        "@!%p1 ld.shared::cta.v2.b32 {%r1, %r2}, [%r0]"
    );
    assert_eq!(instruction.line, 7);
}

#[test]
fn registers_by_class() {
    assert_eq!(operands("mov.b32 %r7, %r0;"), [r(7), r(0)]);
    assert_eq!(operands("mov.b64 %rd1, %fd1;"), [rd(1), rd(9)]);
    let wide = Register {
        class: Class::Bits128,
        index: 1,
    };
    assert_eq!(
        operands("mov.b128 %rq1, {%rd1, _};")[0],
        Operand::Register(wide)
    );
    let entry = kernel(DECLARATIONS).unwrap();
    assert_eq!(entry.registers, [4, 16, 10, 2]);
}

#[test]
fn immediates() {
    let immediate = |text: &str| match operands(&format!("mov.{text};"))[1] {
        Operand::Immediate(value) => value,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(immediate("b32 %r1, -2147483648"), -2147483648i64 as u64);
    assert_eq!(immediate("b32 %r1, 0xFF"), 255);
    assert_eq!(immediate("b32 %r1, 017"), 15);
    assert_eq!(immediate("b32 %r1, 0b11"), 3);
    assert_eq!(immediate("b32 %r1, 3U"), 3);
    assert_eq!(
        immediate("f32 %f1, 0fBF800000"),
        u64::from((-1.0f32).to_bits())
    );
    assert_eq!(immediate("f64 %fd1, 0d3FF8000000000000"), 1.5f64.to_bits());
    assert_eq!(immediate("f32 %f1, -1.5"), u64::from((-1.5f32).to_bits()));
    assert_eq!(immediate("f64 %fd1, 2.5e-3"), 2.5e-3f64.to_bits());
    assert_eq!(
        immediate("f32 %f1, 0d3FF8000000000000"),
        u64::from(1.5f32.to_bits())
    );
    assert_eq!(immediate("b64 %rd1, 0d3FF8000000000000"), 1.5f64.to_bits());
    assert_eq!(immediate("b32 %r1, WARP_SZ"), 32);
}

#[test]
fn addresses() {
    assert_eq!(operands("ld.u32 %r1, [%rd1];")[1], memory(rd(1), 0));
    assert_eq!(operands("ld.u32 %r1, [%rd1+-4];")[1], memory(rd(1), -4));
    assert_eq!(
        operands("ld.u32 %r1, [%rd1 - 4 + 0x10];")[1],
        memory(rd(1), 12)
    );
    assert_eq!(
        operands("ld.u32 %r1, [tile+8];")[1],
        memory(symbol("tile", 0), 8)
    );
    assert_eq!(
        operands("ld.param.u64 %rd1, [p0];")[1],
        memory(symbol("p0", 0), 0)
    );
    assert_eq!(
        operands("ld.u32 %r1, [64];")[1],
        memory(Operand::Immediate(64), 0)
    );
    assert_eq!(operands("mov.u32 %r1, tile;")[1], symbol("tile", 0));
    assert_eq!(operands("mov.u32 %r1, tile+4;")[1], symbol("tile", 4));
}

#[test]
fn vectors_pairs_sinks_and_negations() {
    assert_eq!(
        operands("mov.b64 {%r1, _}, %rd1;")[0],
        Operand::Vector(vec![r(1), Operand::Sink])
    );
    let pair = |a: Operand, b: Operand| Operand::Pair(Box::new(a), Box::new(b));
    let p = |index| Operand::Register(predicate(index));
    assert_eq!(
        operands("shfl.sync.idx.b32 %r1|%p2, %r3, 0, 31, -1;")[0],
        pair(r(1), p(2))
    );
    assert_eq!(
        operands("elect.sync _|%p1, -1;")[0],
        pair(Operand::Sink, p(1))
    );
    assert_eq!(
        operands("setp.eq.and.s32 %p1, %r1, 0, !%p2;")[3],
        Operand::Not(predicate(2))
    );
}

#[test]
fn tensor_coordinates() {
    let text = "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd1, {%r1, 3}], [%r2];";
    let instruction = instruction(text);
    assert_eq!(
        instruction.opcode[4..],
        [
            "2d",
            "shared::cluster",
            "global",
            "mbarrier::complete_tx::bytes"
        ]
    );
    let coordinates = vec![r(1), Operand::Immediate(3)];
    assert_eq!(instruction.operands[0], memory(symbol("tile", 0), 0));
    assert_eq!(
        instruction.operands[1],
        Operand::Tensor(Box::new(rd(1)), coordinates)
    );
    assert_eq!(instruction.operands[2], memory(r(2), 0));
}

#[test]
fn special_registers() {
    let special = |name: &str| Operand::Special(name.to_owned());
    assert_eq!(operands("mov.u32 %r1, %tid.x;")[1], special("tid.x"));
    assert_eq!(
        operands("mov.u32 %r1, %cluster_ctarank;")[1],
        special("cluster_ctarank")
    );
    assert_eq!(operands("mov.u64 %rd1, %clock64;")[1], special("clock64"));
    assert_eq!(operands("mov.u32 %r1, %envreg3;")[1], special("envreg3"));
}

#[test]
fn calls_are_instructions() {
    let module = module(
        ".func (.param .b32 r) f(.param .b32 a);
        .entry k() {
        .reg .b64 %rd<2>;
        { .param .b32 param0; .param .b32 retval0;
        call.uni (retval0), f, (param0);
        proto : .callprototype (.param .b32 _) _ (.param .b32 _);
        call (retval0), %rd1, (param0), proto; } }",
    )
    .unwrap();
    let [direct, indirect] = &module.entries[0].instructions[..] else {
        panic!("two calls")
    };
    let list = |name| Operand::Vector(vec![symbol(name, 0)]);
    assert_eq!(direct.opcode, ["call", "uni"]);
    assert_eq!(
        direct.operands,
        [list("retval0#1"), symbol("f", 0), list("param0#0")]
    );
    assert_eq!(
        indirect.operands,
        [
            list("retval0#1"),
            rd(1),
            list("param0#0"),
            symbol("proto", 0)
        ]
    );
}

#[test]
fn what_is_refused_says_why() {
    for (body, part) in [
        ("mov.b32 %r8, 0;", "'%r8'"),
        ("mov.b32 %r01, 0;", "'%r01'"),
        ("mov.b32 %r1, missing;", "'missing'"),
        ("ld.u32 %r1, [missing];", "'missing'"),
        ("@%r1 ret;", "no predicate"),
        ("@%p9 ret;", "'%p9'"),
        ("bra nowhere;", "'nowhere'"),
        ("mov.b32 %r1, 0f3F8;", "'0f3F8'"),
        ("mov.b32 %r1 %r2;", "';'"),
        ("ld.u32 %r1, [%rd1", "']'"),
        ("ld.u32 %r1, [%rd1, %r2];", "coordinates"),
        ("ld.u32 %r1, [%rd1+4, {%r2}];", "offset"),
        (".reg .texref t;", "texref"),
        (".frobnicate;", ".frobnicate"),
        ("= 3;", "'='"),
    ] {
        let message = refused(body);
        assert!(message.contains(part), "{body}: {message}");
    }
}
