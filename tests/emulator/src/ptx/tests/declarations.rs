use super::*;

#[test]
fn version_target_and_files() {
    let module = module(".file 1 \"/src/a.cu\"\n.file 2 \"b c.cuh\", 1700000000, 512\n").unwrap();
    assert_eq!((module.version, module.target.as_str()), ((9, 0), "sm_90a"));
    assert_eq!(
        module.files,
        [(1, "/src/a.cu".to_owned()), (2, "b c.cuh".to_owned())]
    );
    let debug = Module::parse(".version 8.7\n.target sm_80, debug\n.address_size 64").unwrap();
    assert_eq!((debug.version, debug.target.as_str()), ((8, 7), "sm_80"));
}

#[test]
fn where_variables_go() {
    let module = module(
        ".visible .global .align 4 .u32 counter = 5;
        .const .align 4 .b8 table[8] = {0, 0, 128, 63};
        .weak .global .align 8 .u64 pointers[2] = {generic(counter), table+4};
        .extern .shared .align 1024 .b8 dynamic[];
        .shared .align 16 .b8 tile[64];
        .extern .global .u32 elsewhere;
        .global .attribute(.managed) .align 4 .u32 shared_with_host;",
    )
    .unwrap();
    let names =
        |variables: &[Variable]| -> Vec<_> { variables.iter().map(|v| v.name.clone()).collect() };
    assert_eq!(
        names(&module.globals),
        ["counter", "table", "pointers", "shared_with_host"]
    );
    assert_eq!(names(&module.dynamic_shared), ["dynamic"]);
    assert_eq!(
        (
            module.dynamic_shared[0].align,
            module.dynamic_shared[0].size
        ),
        (1024, 0)
    );
    assert_eq!(names(&module.shared), ["tile"]);
    assert_eq!(module.globals[0].initial, 5u32.to_le_bytes());
    assert_eq!(
        (module.globals[1].size, module.globals[1].initial.as_slice()),
        (8, &[0, 0, 128, 63][..])
    );
    assert_eq!(
        module.globals[2].pointers,
        [(0, "counter".to_owned(), 0), (8, "table".to_owned(), 4)]
    );
}

#[test]
fn the_head_of_a_kernel() {
    let module = module(
        ".visible .entry first(
            .param .align 128 .b8 map[128],
            .param .u64 .ptr .global .align 16 x,
            .param .f32 scale
        )
        .maxntid 256, 2
        .minnctapersm 3
        .maxnreg 64
        .maxclusterrank 8
        .reqnctapercluster 2, 1, 1
        .explicitcluster
        .pragma \"whatever\";
        { ret; }
        .entry second() .reqntid 64 { ret; }
        .weak .entry third { ret; }
        .entry fourth(.param .u32 n);",
    )
    .unwrap();
    let [first, second, third] = &module.entries[..] else {
        panic!("three kernels have a body")
    };
    let parameters: Vec<_> = first
        .parameters
        .iter()
        .map(|p| (p.name.as_str(), p.align, p.size))
        .collect();
    assert_eq!(
        parameters,
        [("map", 128, 128), ("x", 8, 8), ("scale", 4, 4)]
    );
    assert_eq!(
        (first.max_threads, first.exact_threads),
        (Some([256, 2, 1]), false)
    );
    assert_eq!(
        (first.min_blocks, first.cluster, first.explicit_cluster),
        (Some(3), Some([2, 1, 1]), true)
    );
    assert_eq!(
        (second.max_threads, second.exact_threads),
        (Some([64, 1, 1]), true)
    );
    assert_eq!(
        (third.name.as_str(), third.max_threads, third.cluster),
        ("third", None, None)
    );
}

#[test]
fn functions_and_sections_are_no_obstacle() {
    let module = module(
        ".extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b) ;
        .visible .func (.reg .b32 r) odd(.reg .b32 a) .noreturn { .anything { goes \"}\" } here }
        .alias other, odd;
        .entry k() { call.uni odd, (1); call other; ret; }
        .section .debug_str { $L__info_string0: .b8 95,90\n.b8 0\n}
        .section\t.debug_loc\t{\t}",
    )
    .unwrap();
    assert_eq!(module.entries[0].instructions.len(), 3);
}

#[test]
fn errors_name_the_line() {
    let error = module(".global .u32 a;\n\n.global .frob b;").unwrap_err();
    assert_eq!(error.line, 6);
    assert_eq!(
        error.to_string(),
        "PTX line 6: '.frob' is no type of a variable"
    );
    assert_eq!(kernel("\n\nmov.b32 a, 0;\n").unwrap_err().line, 7);
}

#[test]
fn what_is_no_ptx() {
    for text in [
        "",
        "hello",
        ".target sm_80",
        ".version 9.0",
        ".version nine\n.target sm_80",
        "{",
        ".version 9.0 .target sm_80 .address_size 32",
    ] {
        assert!(Module::parse(text).is_err(), "{text}");
    }
    for text in [
        ".entry k() { ret;",
        ".entry k() ret;",
        ".entry k(.param .u32 a { }",
        ".entry k() { } .entry k() { }",
        ".global .u32 a; .global .u32 a;",
        ".func f() { {",
        ".section .debug_str {",
        ".entry k() .blocksareclusters { }",
        ".entry k() .maxntid { }",
        ".entry k() .maxntid -1 { }",
    ] {
        assert!(module(text).is_err(), "{text}");
    }
}

#[test]
fn a_declaration_and_its_definition() {
    let module = module(".extern .global .u32 a;\n.global .u32 a = 3;").unwrap();
    assert_eq!(module.globals.len(), 1);
}
