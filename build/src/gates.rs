//! What a kernel must not do: warn, spill registers without leave, or make the compiler give up an optimisation.

use crate::error::{Error, Result};
use crate::markers::Source;
use crate::resources::Resources;

/// Flags of every compilation. `-lineinfo` lets a profiler and the stand-in driver name the line.
pub(crate) fn flags(source: &Source) -> Vec<&'static str> {
    let mut flags = vec![
        "-O3",
        "-std=c++17",
        "-lineinfo",
        "--Werror",
        "all-warnings",
        "-Xptxas=-v",
    ];
    // ptxas takes no list of kernels, so where one may spill `check` alone watches the others.
    if source.spills_allowed.is_empty() {
        flags.push("-Xptxas=--warn-on-spills,--warning-as-error");
    } else {
        flags.push("-Xptxas=--warning-as-error");
    }
    flags
}

/// Judges the compilation of `source`: whether nvcc succeeded, what it wrote, and the figures in that.
pub(crate) fn check(
    source: &Source,
    success: bool,
    log: &str,
    resources: &[Resources],
) -> Result<()> {
    let path = source.path.display();
    let mut problems = spills(source, resources);
    if !success && problems.is_empty() {
        return Err(Error::new(format!(
            "{path} does not compile:\n{}",
            log.trim_end()
        )));
    }
    problems.extend(performance_losses(log, resources));
    for kernel in &source.spills_allowed {
        if success && !resources.iter().any(|row| row.kernel == *kernel) {
            problems.push(format!(
                "{kernel} is allowed to spill, but there is no such kernel"
            ));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!(
            "{path}: {}",
            problems.join(&format!("\n{path}: "))
        )))
    }
}

/// Spills without leave.
fn spills(source: &Source, resources: &[Resources]) -> Vec<String> {
    let spilled = resources
        .iter()
        .filter(|row| row.spill_stores + row.spill_loads > 0);
    let forbidden = spilled.filter(|row| !source.spills_allowed.contains(&row.kernel));
    let describe = |row: &Resources| {
        let Resources {
            kernel,
            target,
            registers,
            spill_stores,
            spill_loads,
            ..
        } = row;
        format!(
            "kernel {kernel} spills for {target}: {spill_stores} bytes stored and {spill_loads} loaded a thread, with \
             {registers} registers; give it more registers or less to hold, or allow it with a line \
             `// Spills allowed: {kernel}: the reason why`"
        )
    };
    forbidden.map(describe).collect()
}

/// ptxas reports a `setmaxnreg` that it ignores, and `wgmma` that it serialises, as mere information.
fn performance_losses(log: &str, resources: &[Resources]) -> Vec<String> {
    const NOTE: &str = "Potential Performance Loss";
    let describe = |line: &str| {
        let named = resources.iter().map(|row| row.kernel.as_str());
        let mut kernels: Vec<&str> = named
            .clone()
            .filter(|kernel| line.contains(&format!("'{kernel}'")))
            .collect();
        if kernels.is_empty() {
            // Not every such note names its kernel: it is one of these.
            kernels = named.collect();
        }
        kernels.dedup();
        let note = line.split_once(NOTE).map_or("", |(_, note)| note);
        format!(
            "kernel {}: {NOTE}{note}; mend what the compiler could not honour",
            kernels.join(" or ")
        )
    };
    let lines = log.lines().filter(|line| line.contains(NOTE));
    lines.map(describe).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::target::Target;

    fn source(spills_allowed: &[&str]) -> Source {
        Source {
            name: "gemm".to_owned(),
            path: PathBuf::from("kernels/gemm.cu"),
            targets: Target::ALL.to_vec(),
            spills_allowed: spills_allowed
                .iter()
                .map(|&kernel| kernel.to_owned())
                .collect(),
            launch_shape: Vec::new(),
        }
    }

    fn row(kernel: &str, spill_stores: u32) -> Resources {
        Resources {
            kernel: kernel.to_owned(),
            target: Target::Sm90a,
            registers: 168,
            static_shared: 0,
            stack: 0,
            spill_stores,
            spill_loads: 0,
            barriers: 1,
        }
    }

    fn refusal(source: &Source, log: &str, resources: &[Resources]) -> String {
        check(source, true, log, resources).unwrap_err().to_string()
    }

    #[test]
    fn a_spill_names_kernel_target_and_remedy() {
        let error = refusal(&source(&[]), "", &[row("wide", 8), row("slim", 0)]);
        assert!(
            error.starts_with("kernels/gemm.cu: kernel wide spills for sm_90a: 8 bytes stored"),
            "{error}"
        );
        assert!(
            error.contains("`// Spills allowed: wide: the reason why`"),
            "{error}"
        );
        assert!(!error.contains("slim"), "{error}");
    }

    #[test]
    fn leave_to_spill_is_for_the_kernel_that_is_named() {
        let allowed = source(&["wide"]);
        assert!(check(&allowed, true, "", &[row("wide", 8)]).is_ok());
        let error = refusal(&allowed, "", &[row("wide", 8), row("slim", 4)]);
        assert!(
            error.contains("kernel slim spills") && !error.contains("kernel wide"),
            "{error}"
        );
        let error = refusal(&allowed, "", &[row("slim", 0)]);
        assert!(
            error.contains("wide is allowed to spill, but there is no such kernel"),
            "{error}"
        );
    }

    #[test]
    fn a_performance_loss_names_its_kernel() {
        let rows = [row("gemm", 0), row("attention", 0)];
        let named = "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized \
                     in the function 'attention'\n";
        let error = refusal(&source(&[]), named, &rows);
        assert!(
            error.starts_with(
                "kernels/gemm.cu: kernel attention: Potential Performance Loss: wgmma.mma_async"
            ),
            "{error}"
        );
        let unnamed =
            "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable\n";
        let error = refusal(&source(&[]), unnamed, &rows);
        assert!(
            error.contains("kernel gemm or attention: Potential"),
            "{error}"
        );
    }

    #[test]
    fn what_nvcc_refuses_is_shown_whole() {
        let log = "gemm.cu(7): error #177-D: variable \"s\" was declared but never referenced\n";
        let error = check(&source(&[]), false, log, &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("kernels/gemm.cu does not compile:\ngemm.cu(7): error #177-D"),
            "{error}"
        );
    }
}
