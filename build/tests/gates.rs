//! Kernels that the real nvcc accepts and the build must not.

mod support;

use std::fs;

use kernel_build::{Image, Result, Target, read_sources};

use support::kernel_build;

/// 96 values a thread in the 64 registers that 1,024 threads leave each.
const SPILLS: &str = r#"
extern "C" __global__ void __launch_bounds__(1024) wide(float* x, int n) {
  float held[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) held[i] = x[i * n + threadIdx.x];
  for (int k = 0; k < n; ++k) {
#pragma unroll
    for (int i = 0; i < 96; ++i) held[i] = held[i] * held[(i + 7) % 96] + x[k];
  }
#pragma unroll
  for (int i = 0; i < 96; ++i) x[i * n + threadIdx.x] = held[i];
}
"#;

/// Reads the accumulator between two `wgmma`, so that the compiler has to wait for each.
const SERIALIZED: &str = r#"// Targets: sm_90a
extern "C" __global__ void __launch_bounds__(128) multiply(float* x, unsigned long long a, unsigned long long b) {
  float d[4] = {};
  asm volatile("wgmma.fence.sync.aligned;\n");
  for (int i = 0; i < 4; ++i) {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, 1, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, %4, %5, p, 1, 1, 0, 0; }\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "l"(a + i), "l"(b));
    d[0] += 1.0f;
  }
  asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n");
  x[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
"#;

/// Without `__launch_bounds__` nobody knows how many registers there are to trade.
const IGNORED_SETMAXNREG: &str = r#"// Targets: sm_90a
extern "C" __global__ void trade(float* x) {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;\n");
  x[threadIdx.x] = 1.0f;
}
"#;

/// Compiles files of these names and texts together.
fn compile(files: &[(&str, &str)]) -> Result<Vec<Image>> {
    let scratch = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(scratch.path().join(name), text).unwrap();
    }
    let sources = read_sources(scratch.path())?;
    let images = kernel_build(&scratch.path().join("out")).run(&sources)?;
    for image in &images {
        assert!(image.fatbin.is_file());
    }
    Ok(images)
}

fn refusal(text: &str) -> String {
    let error = compile(&[("kernel.cu", text)]).expect_err("a gate is open");
    error.to_string()
}

#[test]
fn a_spill_is_an_error_that_names_the_kernel() {
    let error = refusal(SPILLS);
    assert!(
        error.contains("kernel.cu: kernel wide spills for sm_80: "),
        "{error}"
    );
    assert!(
        error.contains("`// Spills allowed: wide: the reason why`"),
        "{error}"
    );
}

#[test]
fn a_spill_with_leave_passes_and_its_figures_tell() {
    let allowed = format!("// Spills allowed: wide: the test wants it\n{SPILLS}");
    let images = compile(&[("kernel.cu", &allowed)]).unwrap();
    assert_eq!(images[0].targets, Target::ALL);
    let targets: Vec<_> = images[0].resources.iter().map(|row| row.target).collect();
    assert_eq!(targets, Target::ALL);
    for row in &images[0].resources {
        assert_eq!(row.kernel, "wide");
        assert!(row.spill_stores > 0 && row.registers == 64, "{row:?}");
    }
}

#[test]
fn leave_does_not_extend_to_other_kernels() {
    let other = SPILLS.replace("wide", "other");
    let error = refusal(&format!(
        "// Spills allowed: wide: the test wants it\n{SPILLS}{other}"
    ));
    assert!(error.contains("kernel other spills"), "{error}");
    assert!(!error.contains("kernel wide spills"), "{error}");
}

#[test]
fn a_warning_is_an_error() {
    let error = refusal("extern \"C\" __global__ void f(float* x) { int unused; *x = 1.0f; }\n");
    assert!(error.contains("kernel.cu does not compile:"), "{error}");
    assert!(
        error.contains("\"unused\" was declared but never referenced"),
        "{error}"
    );
}

#[test]
fn a_performance_loss_is_an_error() {
    let error = refusal(SERIALIZED);
    assert!(
        error.contains("kernel.cu: kernel multiply: Potential Performance Loss: wgmma"),
        "{error}"
    );
    let error = refusal(IGNORED_SETMAXNREG);
    assert!(
        error.contains("kernel.cu: kernel trade: Potential Performance Loss: 'setmaxnreg' ignored"),
        "{error}"
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let error = compile(&[
        ("first.cu", "this is no CUDA\n"),
        ("second.cu", "extern \"C\" __global__ void f() {}\n"),
        ("third.cu", "nor is this\n"),
    ])
    .unwrap_err()
    .to_string();
    assert!(error.contains("first.cu does not compile"), "{error}");
    assert!(error.contains("third.cu does not compile"), "{error}");
    assert!(!error.contains("second.cu"), "{error}");
}

#[test]
fn a_file_gets_what_its_targets_line_says() {
    let kernel = "extern \"C\" __global__ void f(float* x) { *x = 1.0f; }\n";
    let hopper = format!("// Targets: sm_90a\n{kernel}");
    let images = compile(&[("any.cu", kernel), ("hopper.cu", &hopper)]).unwrap();
    assert_eq!(
        (images[0].ptx.as_str(), &images[0].targets[..]),
        ("compute_80", &Target::ALL[..])
    );
    assert_eq!(
        (images[1].ptx.as_str(), &images[1].targets[..]),
        ("compute_90a", &[Target::Sm90a][..])
    );
}
