//! Finding nvcc.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the wheels put nvcc, under `.cuda/`.
const NVCC_IN_WHEELS: &str = "nvidia/cu13/bin/nvcc";

/// Environment variables that decide which nvcc is found, or what it does.
pub(crate) const VARIABLES: [&str; 6] = [
    "NVCC",
    "CUDA_HOME",
    "PATH",
    "NVCC_CCBIN",
    "NVCC_PREPEND_FLAGS",
    "NVCC_APPEND_FLAGS",
];

/// A release of CUDA. 12.8 is the first whose nvcc compiles for every [target](crate::Target).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

const OLDEST_RELEASE: Release = Release(12, 8);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Where to look for nvcc. `scripts/fetch_toolchain.py` has the same rules: it fetches a toolchain only
/// where this finds none.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// `NVCC`: a path, or a name to look up in `PATH`.
    pub nvcc: Option<OsString>,
    /// `CUDA_HOME`.
    pub cuda_home: Option<OsString>,
    /// The folder that may hold `.cuda/`.
    pub project: PathBuf,
    /// Where CUDA is installed for the whole system.
    pub system: PathBuf,
    /// `PATH`.
    pub path: Option<OsString>,
}

impl Search {
    /// As the environment says, with the toolchain that `make toolchain` puts into `project`.
    /// An empty variable counts as unset.
    pub fn from_env(project: impl Into<PathBuf>) -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            nvcc: variable("NVCC"),
            cuda_home: variable("CUDA_HOME"),
            project: project.into(),
            system: PathBuf::from("/usr/local/cuda"),
            path: variable("PATH"),
        }
    }

    /// Every place where nvcc may be, in the order in which they are tried.
    pub fn places(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        match &self.nvcc {
            Some(path) if path.to_string_lossy().contains('/') => places.push(PathBuf::from(path)),
            Some(name) => places.extend(self.path_folders().map(|folder| folder.join(name))),
            None => {}
        }
        let home = self.cuda_home.as_ref();
        places.extend(home.map(|home| Path::new(home).join("bin/nvcc")));
        places.push(self.project.join(".cuda").join(NVCC_IN_WHEELS));
        places.push(self.system.join("bin/nvcc"));
        places.extend(self.path_folders().map(|folder| folder.join("nvcc")));
        places
    }

    /// The folders among [`places`](Self::places) that belong to a toolkit, and so are small.
    pub(crate) fn toolkit_folders(&self) -> Vec<PathBuf> {
        let home = self.cuda_home.as_ref();
        let home = home.map(|home| Path::new(home).join("bin"));
        let fetched = self.project.join(".cuda").join(NVCC_IN_WHEELS);
        let fetched = fetched.parent().map(Path::to_path_buf);
        home.into_iter()
            .chain(fetched)
            .chain([self.system.join("bin")])
            .collect()
    }

    fn path_folders(&self) -> impl Iterator<Item = PathBuf> {
        let folders = self.path.iter().flat_map(env::split_paths);
        folders.filter(|folder| !folder.as_os_str().is_empty())
    }

    /// The first usable nvcc, and what is wrong with those before it.
    pub fn find(&self) -> Found {
        let mut found = Found::default();
        for place in self.places() {
            found.tried.push(place.clone());
            if !place.is_file() {
                if self.nvcc.as_deref() == Some(place.as_os_str()) {
                    let reason = format!("NVCC is {}, which is no file", place.display());
                    found.passed_over.push(reason);
                }
                continue;
            }
            match Nvcc::at(&place) {
                Ok(nvcc) => {
                    found.nvcc = Some(nvcc);
                    break;
                }
                Err(reason) => found.passed_over.push(reason),
            }
        }
        found
    }
}

/// What a [`Search`] found.
#[derive(Debug, Default)]
pub struct Found {
    /// The nvcc to use.
    pub nvcc: Option<Nvcc>,
    /// Those that were there but cannot be used, each with the reason.
    pub passed_over: Vec<String>,
    /// The places that were looked at. Those after the nvcc that is used do not matter.
    pub tried: Vec<PathBuf>,
}

/// An nvcc that runs and is new enough.
#[derive(Clone, Debug)]
pub struct Nvcc {
    /// The program.
    pub path: PathBuf,
    /// Its release.
    pub release: Release,
    /// Its whole answer to `--version`: a kernel is compiled anew when this changes.
    pub(crate) version: String,
}

impl Nvcc {
    /// The nvcc at `place`, or why it cannot be used.
    fn at(place: &Path) -> std::result::Result<Self, String> {
        let path = without_link(place);
        let shown = path.display();
        let output = Command::new(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{shown} does not run: {error}"))?;
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        match parse_release(&version) {
            Some(release) if output.status.success() && release >= OLDEST_RELEASE => Ok(Self {
                path,
                release,
                version,
            }),
            Some(release) if output.status.success() => Err(format!(
                "{shown} is release {release}, older than {OLDEST_RELEASE}"
            )),
            _ => Err(format!("{shown} does not tell its release")),
        }
    }
}

/// nvcc looks for its headers beside the path by which it is called, so a link to the program alone fails.
/// A link to a program of another name is left as it is: such a wrapper goes by the name it is called.
fn without_link(place: &Path) -> PathBuf {
    match fs::canonicalize(place) {
        Ok(path) if path.file_name() == place.file_name() => path,
        _ => place.to_path_buf(),
    }
}

fn parse_release(version: &str) -> Option<Release> {
    let (_, rest) = version.split_once("release ")?;
    let (major, rest) = rest.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Release(major.parse().ok()?, minor.parse().ok()?))
}

/// Why nvcc could not compile here although it is found: it needs a host compiler, which is gcc unless a
/// variable says otherwise.
pub(crate) fn missing_host_compiler(search: &Search) -> Option<String> {
    let chosen = ["NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"];
    let has_gcc = search
        .path_folders()
        .any(|folder| folder.join("gcc").is_file());
    let missing = !has_gcc && chosen.iter().all(|name| env::var_os(name).is_none());
    missing.then(|| {
        "nvcc needs a host compiler and there is no gcc in PATH; install it (on Debian and Ubuntu: \
         apt-get install g++), or set NVCC_CCBIN to the one to use"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_what_nvcc_says() {
        let version = "nvcc: NVIDIA (R) Cuda compiler driver\n\
                       Cuda compilation tools, release 13.0, V13.0.88\n";
        assert_eq!(parse_release(version), Some(Release(13, 0)));
        assert_eq!(
            parse_release("release 12.10, V12.10.1"),
            Some(Release(12, 10))
        );
        for other in ["", "release", "release thirteen,", "release 13", "gcc 12.2"] {
            assert_eq!(parse_release(other), None, "{other:?}");
        }
        assert!(Release(12, 10) > OLDEST_RELEASE && Release(9, 9) < OLDEST_RELEASE);
    }

    #[test]
    fn places_are_in_the_documented_order() {
        let search = Search {
            nvcc: Some("/named/nvcc-13".into()),
            cuda_home: Some("/home/cuda".into()),
            project: "/project".into(),
            system: "/system/cuda".into(),
            path: Some("/bin::/opt/bin".into()),
        };
        let expected = [
            "/named/nvcc-13",
            "/home/cuda/bin/nvcc",
            "/project/.cuda/nvidia/cu13/bin/nvcc",
            "/system/cuda/bin/nvcc",
            "/bin/nvcc",
            "/opt/bin/nvcc",
        ];
        assert_eq!(search.places(), expected.map(PathBuf::from));
        let by_name = Search {
            nvcc: Some("nvcc-13".into()),
            ..search
        };
        assert_eq!(
            by_name.places()[..2],
            ["/bin/nvcc-13", "/opt/bin/nvcc-13"].map(PathBuf::from)
        );
    }
}
