//! One kernel file into one fatbin, unless it is there and nothing that went into it has changed.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::gates;
use crate::markers::Source;
use crate::resources::{self, Resources};
use crate::target::Target;
use crate::toolchain::Nvcc;

/// A compiled kernel file.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name of the file without `.cu`.
    pub name: String,
    /// The fatbin, not compressed: machine code for every target and PTX for the oldest.
    pub fatbin: PathBuf,
    /// What there is machine code for.
    pub targets: Vec<Target>,
    /// What there is PTX for, `compute_80`.
    pub ptx: String,
    /// The figures of each kernel and target.
    pub resources: Vec<Resources>,
    /// The files it is made from.
    pub dependencies: Vec<PathBuf>,
    /// Whether nvcc ran; otherwise the fatbin of an earlier build was still right.
    pub compiled: bool,
}

/// How every file is compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) nvcc: &'a Nvcc,
    pub(crate) out_dir: &'a Path,
    /// Machine code beside the PTX.
    pub(crate) machine_code: bool,
}

/// The image of `source`, compiled if need be.
pub(crate) fn compile(source: &Source, settings: Settings<'_>) -> Result<Image> {
    let file = |extension| {
        settings
            .out_dir
            .join(format!("{}.{extension}", source.name))
    };
    let (fatbin, log, inputs) = (file("fatbin"), file("log"), file("inputs"));
    let arguments = arguments(source, settings, &fatbin, &file("d"));
    let recipe = recipe(settings.nvcc, &arguments);

    if let Some(dependencies) = unchanged(&recipe, &inputs, &fatbin)
        && let Ok(log) = fs::read_to_string(&log)
    {
        return Ok(image(source, settings, fatbin, &log, dependencies, false));
    }
    // What is interrupted from here on is no longer taken for whole.
    if inputs.exists() {
        fs::remove_file(&inputs).map_err(|error| Error::io("remove", &inputs, &error))?;
    }
    let start = SystemTime::now();
    let output = Command::new(&settings.nvcc.path)
        .args(&arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::io("run", &settings.nvcc.path, &error))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    gates::check(
        source,
        output.status.success(),
        &text,
        &resources::parse(&text),
    )?;

    let depfile = file("d");
    let dependencies = fs::read_to_string(&depfile)
        .map(|text| parse_depfile(&text))
        .map_err(|error| Error::io("read", &depfile, &error))?;
    write(&log, &text)?;
    // A file that changed while nvcc ran may or may not be in the fatbin: compile again next time.
    if let Some((state, newest)) = state(&recipe, &dependencies)
        && newest < start
    {
        write(&inputs, &state)?;
    }
    Ok(image(source, settings, fatbin, &text, dependencies, true))
}

fn image(
    source: &Source,
    settings: Settings<'_>,
    fatbin: PathBuf,
    log: &str,
    dependencies: Vec<PathBuf>,
    compiled: bool,
) -> Image {
    let machine_code: &[Target] = if settings.machine_code {
        &source.targets
    } else {
        &[]
    };
    Image {
        name: source.name.clone(),
        fatbin,
        targets: machine_code.to_vec(),
        ptx: source.ptx_target().compute(),
        resources: resources::parse(log),
        dependencies,
        compiled,
    }
}

fn arguments(
    source: &Source,
    settings: Settings<'_>,
    fatbin: &Path,
    depfile: &Path,
) -> Vec<String> {
    // The stand-in driver reads the PTX in the fatbin as it is.
    let mut arguments = vec!["-fatbin".to_owned(), "--no-compress".to_owned()];
    arguments.extend(gates::flags(source).into_iter().map(str::to_owned));
    let mut generate = |compute: &str, code: &str| {
        arguments.extend(["-gencode".to_owned(), format!("arch={compute},code={code}")]);
    };
    if settings.machine_code {
        for target in &source.targets {
            generate(&target.compute(), target.sm());
        }
    }
    let ptx = source.ptx_target().compute();
    generate(&ptx, &ptx);
    let files = [("-MF", depfile), ("-o", fatbin)];
    arguments.push("-MD".to_owned());
    for (flag, path) in files {
        arguments.extend([flag.to_owned(), path.to_string_lossy().into_owned()]);
    }
    arguments.push(source.path.to_string_lossy().into_owned());
    arguments
}

/// All that decides over a fatbin beside the files that it is made from.
fn recipe(nvcc: &Nvcc, arguments: &[String]) -> String {
    let variable = |name| env::var(name).unwrap_or_default();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{}\n",
        nvcc.path.display(),
        nvcc.version.trim(),
        arguments.join(" "),
        variable("NVCC_CCBIN"),
        variable("NVCC_PREPEND_FLAGS"),
        variable("NVCC_APPEND_FLAGS"),
    )
}

/// The recipe with the size and time of every dependency, and the newest of the times. None if one is missing.
fn state(recipe: &str, dependencies: &[PathBuf]) -> Option<(String, SystemTime)> {
    let mut text = recipe.to_owned();
    let mut newest = UNIX_EPOCH;
    for path in dependencies {
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (size, nanoseconds) = (metadata.len(), since.as_nanos());
        writeln!(text, "{DEPENDENCY}{size} {nanoseconds} {}", path.display()).ok()?;
        newest = newest.max(modified);
    }
    Some((text, newest))
}

/// Begins a dependency's line in the file of inputs.
const DEPENDENCY: &str = "file ";

/// The dependencies of the fatbin if it is there and all that went into it is as it was.
fn unchanged(recipe: &str, inputs: &Path, fatbin: &Path) -> Option<Vec<PathBuf>> {
    let recorded = fs::read_to_string(inputs).ok()?;
    let lines = recorded.strip_prefix(recipe)?.lines();
    let path = |line: &str| {
        Some(PathBuf::from(
            line.strip_prefix(DEPENDENCY)?.splitn(3, ' ').nth(2)?,
        ))
    };
    let dependencies = lines.map(path).collect::<Option<Vec<_>>>()?;
    let (now, _) = state(recipe, &dependencies)?;
    (now == recorded && fatbin.is_file()).then_some(dependencies)
}

/// The files in a rule of make: `target : file file \` and so on, with blanks in names escaped.
fn parse_depfile(text: &str) -> Vec<PathBuf> {
    let Some((_, files)) = text.split_once(" : ").or_else(|| text.split_once(": ")) else {
        return Vec::new();
    };
    let joined = files.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut paths = Vec::new();
    let mut path = String::new();
    let mut characters = joined.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if characters.peek() == Some(&' ') => path.extend(characters.next()),
            c if c.is_whitespace() => {
                if !path.is_empty() {
                    paths.push(PathBuf::from(std::mem::take(&mut path)));
                }
            }
            c => path.push(c),
        }
    }
    if !path.is_empty() {
        paths.push(PathBuf::from(path));
    }
    paths
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::io("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depfiles_are_read_with_blanks_in_names() {
        let text =
            "/out/a.fatbin : kernels/a.cu \\\n    /usr/include/stdc.h \\\n    /my\\ cuda/cuda.h\n";
        let expected = ["kernels/a.cu", "/usr/include/stdc.h", "/my cuda/cuda.h"];
        assert_eq!(parse_depfile(text), expected.map(PathBuf::from));
        assert!(parse_depfile("").is_empty());
    }

    #[test]
    fn a_fatbin_is_kept_only_while_recipe_and_files_are_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        let file = |name| scratch.path().join(name);
        let (fatbin, inputs, header) = (file("a.fatbin"), file("a.inputs"), file("a b.cuh"));
        fs::write(&fatbin, "fatbin").unwrap();
        fs::write(&header, "one").unwrap();
        let dependencies = vec![header.clone()];
        let (text, _) = state("recipe\n", &dependencies).unwrap();
        fs::write(&inputs, text).unwrap();

        assert_eq!(unchanged("recipe\n", &inputs, &fatbin), Some(dependencies));
        assert_eq!(unchanged("other recipe\n", &inputs, &fatbin), None);
        fs::write(&header, "longer").unwrap();
        assert_eq!(
            unchanged("recipe\n", &inputs, &fatbin),
            None,
            "another size"
        );
        fs::write(&header, "two").unwrap();
        filetime::set_file_mtime(&header, filetime::FileTime::zero()).unwrap();
        assert_eq!(
            unchanged("recipe\n", &inputs, &fatbin),
            None,
            "another time"
        );
        fs::remove_file(&header).unwrap();
        assert_eq!(unchanged("recipe\n", &inputs, &fatbin), None, "no file");
    }
}
