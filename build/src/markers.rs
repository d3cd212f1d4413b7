//! What a kernel file says about itself, in comment lines that the build reads:
//!
//! ```text
//! // Targets: sm_90a, sm_100a                      absent: every target
//! // Spills allowed: kernel_name: the reason why   one line a kernel
//! // --- launch shape ---                          constants that the host needs as well, see `launch_shape`
//! constexpr int kBlockM = 128;  // reason
//! // --- end of launch shape ---
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::launch_shape::{self, Constant};
use crate::target::Target;

/// A kernel file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name without `.cu`, which is that of the operation.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What it gets machine code for, oldest first; PTX is made for the first.
    pub targets: Vec<Target>,
    /// The kernels that may spill registers.
    pub spills_allowed: Vec<String>,
    /// The constants of its launch shape.
    pub launch_shape: Vec<Constant>,
}

impl Source {
    /// Reads what the file at `path` says about itself.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or a marker with something wrong in it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, path, &text)
    }

    fn parse(name: &str, path: &Path, text: &str) -> Result<Self> {
        // The name becomes that of a Rust module.
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(plain) {
            return Err(Error::new(format!(
                "{}: name it for its operation, in lower case, digits and _",
                path.display()
            )));
        }
        let mut source = Self {
            name: name.to_owned(),
            path: path.to_path_buf(),
            targets: Vec::new(),
            spills_allowed: Vec::new(),
            launch_shape: launch_shape::parse(path, text)?,
        };
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |what: &str| Error::new(format!("{}:{number}: {what}", path.display()));
            if let Some(names) = line.strip_prefix("// Targets:") {
                for name in names.split(',') {
                    let target = Target::named(name.trim()).ok_or_else(|| {
                        let known = Target::ALL.map(Target::sm).join(", ");
                        wrong(&format!(
                            "{:?} is no target; there are {known}",
                            name.trim()
                        ))
                    })?;
                    source.targets.push(target);
                }
            } else if let Some(allowed) = line.strip_prefix("// Spills allowed:") {
                match allowed.split_once(':') {
                    Some((kernel, reason)) if !reason.trim().is_empty() => {
                        source.spills_allowed.push(kernel.trim().to_owned());
                    }
                    _ => {
                        return Err(wrong(
                            "a kernel that may spill needs a reason: `// Spills allowed: kernel: reason`",
                        ));
                    }
                }
            }
        }
        if source.targets.is_empty() {
            source.targets.extend(Target::ALL);
        }
        source.targets.sort_unstable();
        source.targets.dedup();
        Ok(source)
    }

    /// The target whose PTX goes into the image: the oldest, because newer GPUs can compile it for themselves.
    pub fn ptx_target(&self) -> Target {
        self.targets[0]
    }
}

/// The kernel files of a folder, by name.
///
/// # Errors
///
/// A folder or file that cannot be read, or a marker with something wrong in it.
pub fn read_sources(folder: &Path) -> Result<Vec<Source>> {
    let unreadable = |error| Error::io("read", folder, &error);
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "cu") {
            sources.push(Source::read(&path)?);
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source> {
        Source::parse("gemm", Path::new("kernels/gemm.cu"), text)
    }

    #[test]
    fn a_file_without_markers_is_for_every_target() {
        let source = parse("// Computes y = x.\n__global__ void f() {}\n").unwrap();
        assert_eq!(source.targets, Target::ALL);
        assert_eq!(source.ptx_target().compute(), "compute_80");
        assert!(source.spills_allowed.is_empty() && source.launch_shape.is_empty());
    }

    #[test]
    fn targets_are_sorted_and_the_first_has_the_ptx() {
        let source = parse("//\n// Targets: sm_100a, sm_90a, sm_90a\n").unwrap();
        assert_eq!(source.targets, [Target::Sm90a, Target::Sm100a]);
        assert_eq!(source.ptx_target().compute(), "compute_90a");
    }

    #[test]
    fn an_unknown_target_is_an_error_with_the_line() {
        let error = parse("//\n// Targets: sm_80, sm_70\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernels/gemm.cu:2: \"sm_70\" is no target; there are sm_80, sm_89, sm_90a, sm_100a, sm_120a"
        );
    }

    #[test]
    fn names_are_those_of_modules() {
        for name in ["Gemm", "gemm-v2", "2gemm", ""] {
            let error = Source::parse(name, Path::new("x.cu"), "").unwrap_err();
            assert!(error.to_string().contains("lower case"), "{error}");
        }
    }

    #[test]
    fn a_spill_is_allowed_for_a_reason_only() {
        let source = parse("// Spills allowed: wide: two tiles are faster: 3 %\n").unwrap();
        assert_eq!(source.spills_allowed, ["wide"]);
        for line in ["// Spills allowed: wide", "// Spills allowed: wide: "] {
            let error = parse(line).unwrap_err().to_string();
            assert!(
                error.contains("gemm.cu:1: a kernel that may spill needs a reason"),
                "{error}"
            );
        }
    }
}
