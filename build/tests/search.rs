//! Which nvcc a build takes: the build script and scripts/fetch_toolchain.py follow the same rules.
#![cfg(unix)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel_build::Search;

use support::{project, python, write_fake_nvcc};

/// A folder of toolchains and what a search in it is told. `~` in a value stands for the folder.
struct Case {
    what: &'static str,
    /// Programs that answer with a release.
    programs: &'static [(&'static str, &'static str)],
    nvcc: &'static str,
    cuda_home: &'static str,
    path: &'static str,
    finds: Option<&'static str>,
}

const FETCHED: &str = "project/.cuda/nvidia/cu13/bin/nvcc";

const CASES: [Case; 14] = [
    Case {
        what: "nothing anywhere",
        programs: &[],
        nvcc: "",
        cuda_home: "",
        path: "~/bin",
        finds: None,
    },
    Case {
        what: "NVCC before all others",
        programs: &[
            ("named/nvcc-13", "13.0"),
            ("home/bin/nvcc", "13.0"),
            (FETCHED, "13.0"),
        ],
        nvcc: "~/named/nvcc-13",
        cuda_home: "~/home",
        path: "",
        finds: Some("named/nvcc-13"),
    },
    Case {
        what: "NVCC by its name alone",
        programs: &[("bin/nvcc-13", "13.0"), (FETCHED, "13.0")],
        nvcc: "nvcc-13",
        cuda_home: "",
        path: "~/other:~/bin",
        finds: Some("bin/nvcc-13"),
    },
    Case {
        what: "NVCC that is not there",
        programs: &[(FETCHED, "13.0")],
        nvcc: "~/named/nvcc",
        cuda_home: "",
        path: "",
        finds: Some(FETCHED),
    },
    Case {
        what: "CUDA_HOME before what was fetched",
        programs: &[("home/bin/nvcc", "12.9"), (FETCHED, "13.0")],
        nvcc: "",
        cuda_home: "~/home",
        path: "",
        finds: Some("home/bin/nvcc"),
    },
    Case {
        what: "CUDA_HOME without an nvcc",
        programs: &[("home/nvcc", "13.0"), ("system/bin/nvcc", "13.0")],
        nvcc: "",
        cuda_home: "~/home",
        path: "",
        finds: Some("system/bin/nvcc"),
    },
    Case {
        what: "what was fetched before the system's",
        programs: &[
            (FETCHED, "13.0"),
            ("system/bin/nvcc", "13.1"),
            ("bin/nvcc", "13.1"),
        ],
        nvcc: "",
        cuda_home: "",
        path: "~/bin",
        finds: Some(FETCHED),
    },
    Case {
        what: "the system's before PATH",
        programs: &[("system/bin/nvcc", "13.0"), ("bin/nvcc", "13.0")],
        nvcc: "",
        cuda_home: "",
        path: "~/bin",
        finds: Some("system/bin/nvcc"),
    },
    Case {
        what: "PATH in its order",
        programs: &[("second/nvcc", "13.0"), ("third/nvcc", "13.0")],
        nvcc: "",
        cuda_home: "",
        path: "~/first::~/second:~/third",
        finds: Some("second/nvcc"),
    },
    Case {
        what: "one that is too old",
        programs: &[(FETCHED, "12.7"), ("bin/nvcc", "12.8")],
        nvcc: "",
        cuda_home: "",
        path: "~/bin",
        finds: Some("bin/nvcc"),
    },
    Case {
        what: "releases compared as numbers",
        programs: &[(FETCHED, "9.10"), ("bin/nvcc", "12.10")],
        nvcc: "",
        cuda_home: "",
        path: "~/bin",
        finds: Some("bin/nvcc"),
    },
    Case {
        what: "none but old ones",
        programs: &[("named/nvcc", "11.8"), (FETCHED, "12.0")],
        nvcc: "~/named/nvcc",
        cuda_home: "",
        path: "",
        finds: None,
    },
    Case {
        what: "one that tells no release",
        programs: &[(FETCHED, "unknown"), ("system/bin/nvcc", "13.0")],
        nvcc: "",
        cuda_home: "",
        path: "",
        finds: Some("system/bin/nvcc"),
    },
    Case {
        what: "a folder of that name",
        programs: &[("bin/nvcc/nvcc", "13.0")],
        nvcc: "~/bin/nvcc",
        cuda_home: "",
        path: "~/bin",
        finds: None,
    },
];

#[test]
fn build_and_script_take_the_same_nvcc() {
    for case in &CASES {
        let scratch = tempfile::tempdir().unwrap();
        // Temporary folders may be behind a link.
        let root = fs::canonicalize(scratch.path()).unwrap();
        for (program, release) in case.programs {
            write_fake_nvcc(&root.join(program), release);
        }
        let expected = case.finds.map(|place| root.join(place));
        assert_eq!(by_build(case, &root), expected, "build: {}", case.what);
        assert_eq!(by_script(case, &root), expected, "script: {}", case.what);
    }
}

fn value(pattern: &str, root: &Path) -> String {
    pattern.replace('~', &root.to_string_lossy())
}

fn by_build(case: &Case, root: &Path) -> Option<PathBuf> {
    let variable =
        |pattern: &str| Some(value(pattern, root).into()).filter(|_| !pattern.is_empty());
    let search = Search {
        nvcc: variable(case.nvcc),
        cuda_home: variable(case.cuda_home),
        project: root.join("project"),
        system: root.join("system"),
        path: variable(case.path),
    };
    search.find().nvcc.map(|nvcc| nvcc.path)
}

fn by_script(case: &Case, root: &Path) -> Option<PathBuf> {
    let output = Command::new(python())
        .arg(project().join("scripts/fetch_toolchain.py"))
        .arg("--find")
        .args([
            "--project",
            &value("~/project", root),
            "--system",
            &value("~/system", root),
        ])
        .env_clear()
        .env("NVCC", value(case.nvcc, root))
        .env("CUDA_HOME", value(case.cuda_home, root))
        .env("PATH", value(case.path, root))
        .output()
        .expect("Python starts");
    let found = String::from_utf8(output.stdout).unwrap();
    if output.status.success() {
        Some(PathBuf::from(found.trim_end()))
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            complaint.contains("no usable nvcc; `make toolchain` fetches one"),
            "{complaint}"
        );
        None
    }
}
