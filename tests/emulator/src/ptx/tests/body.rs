use super::*;

fn labels(entry: &Entry) -> Vec<u32> {
    let operands = entry
        .instructions
        .iter()
        .flat_map(|instruction| &instruction.operands);
    operands
        .filter_map(|operand| {
            if let Operand::Label(at) = operand {
                Some(*at)
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn labels_forward_backward_and_at_the_end() {
    let entry =
        kernel("bra end; $L__BB0_1: ret; bra.uni $L__BB0_1; bra last; last: exit; end:").unwrap();
    assert_eq!(labels(&entry), [5, 1, 4]);
}

#[test]
fn scopes_hide_registers_and_labels() {
    let entry = kernel(
        ".reg .b32 t; again: mov.b32 t, 1;
        { .reg .b32 t; again: mov.b32 t, 2; bra again; bra out; }
        mov.b32 t, 3; bra again; out: ret;",
    )
    .unwrap();
    let targets: Vec<_> = entry
        .instructions
        .iter()
        .filter_map(|instruction| match instruction.operands.first() {
            Some(Operand::Register(register)) => Some(register.index),
            _ => None,
        })
        .collect();
    assert_eq!(targets, [0, 1, 0]);
    assert_eq!(labels(&entry), [1, 6, 0]);
    assert_eq!(entry.registers[Class::Bits32 as usize], 2);
}

#[test]
fn a_label_is_not_seen_from_outside_its_scope() {
    assert!(refused("{ inside: ret; } bra inside;").contains("'inside'"));
}

#[test]
fn a_label_may_be_called_like_a_kernel() {
    let entry = kernel("k: ret; bra k;").unwrap();
    assert_eq!(labels(&entry), [0]);
}

#[test]
fn branch_tables() {
    let text = ".reg .b32 %r<2>;
        table: .branchtargets a, outer, a;
        brx.idx %r1, table;
        a: ret;
        outer: exit;";
    let expected = Operand::Vector(vec![
        Operand::Label(1),
        Operand::Label(2),
        Operand::Label(1),
    ]);
    assert_eq!(kernel(text).unwrap().instructions[0].operands[1], expected);
    let nested = ".reg .b32 %r<2>; { brx.idx %r1, table; table: .branchtargets a, outer, a; a: ret; } outer: exit;";
    assert_eq!(
        kernel(nested).unwrap().instructions[0].operands[1],
        expected
    );
    assert!(refused("table: .branchtargets table; brx.idx %r1, table;").contains("'table'"));
    assert!(refused("table: .branchtargets tile; brx.idx %r1, table;").contains("'tile'"));
}

#[test]
fn a_range_whose_name_ends_in_digits() {
    let entry =
        kernel(".reg .b32 %a1<12>; .reg .b32 %a<3>; mov.b32 %a111, %a2; mov.b32 %a10, %a1;")
            .unwrap();
    let index = |instruction: usize, operand: usize| match entry.instructions[instruction].operands
        [operand]
    {
        Operand::Register(register) => register.index,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(
        [index(0, 0), index(0, 1), index(1, 0), index(1, 1)],
        [11, 14, 0, 13]
    );
}

#[test]
fn variables_of_a_kernel() {
    let entry = kernel(
        ".local .align 4 .b8 __local_depot0[28];
        .shared .align 128 .b8 a[12288];
        // demoted variable
        .shared .f32 b;",
    )
    .unwrap();
    let shapes = |variables: &[Variable]| -> Vec<_> {
        variables
            .iter()
            .map(|v| (v.name.clone(), v.align, v.size))
            .collect()
    };
    assert_eq!(shapes(&entry.local), [("__local_depot0".to_owned(), 4, 28)]);
    assert_eq!(
        shapes(&entry.shared),
        [("a".to_owned(), 128, 12288), ("b".to_owned(), 4, 4)]
    );
}

#[test]
fn source_lines() {
    let entry = kernel(
        "ret;
        .loc 1 54 3
        ret;
        .loc 1 48 7, function_name $L__info_string0, inlined_at 1 54 3
        .loc 2 151 3, function_name $L__info_string3, inlined_at 1 48 7
        ret; .pragma \"nounroll\"; ret;",
    )
    .unwrap();
    let sources: Vec<_> = entry
        .instructions
        .iter()
        .map(|instruction| instruction.source)
        .collect();
    let plain = Source {
        file: 1,
        line: 54,
        inlined_at: None,
    };
    let inlined = Source {
        file: 2,
        line: 151,
        inlined_at: Some((1, 54)),
    };
    assert_eq!(sources, [None, Some(plain), Some(inlined), Some(inlined)]);
}

#[test]
fn names_declared_twice() {
    for body in [
        "a: ret; a: ret;",
        ".reg .b32 a; .reg .b32 a;",
        ".reg .b32 a<3>; .reg .b64 a<3>;",
        ".shared .b32 a; .shared .b32 a;",
        ".local .b32 p0;",
    ] {
        assert!(refused(body).contains("twice"), "{body}");
    }
}

#[test]
fn more_registers_than_an_index_counts() {
    assert_eq!(
        kernel(".reg .b32 %r<65536>; mov.b32 %r65535, 0;")
            .unwrap()
            .registers[1],
        65536
    );
    assert!(
        kernel(".reg .b32 %r<65537>;")
            .unwrap_err()
            .message
            .contains("65536")
    );
    assert!(kernel(".reg .b32 %r<65536>; .reg .b32 a;").is_err());
    assert!(kernel(".reg .b32 %r<4294967295>;").is_err());
}
