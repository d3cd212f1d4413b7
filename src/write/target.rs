//! Where output goes, so that nothing half-written is ever taken for whole.

#![forbid(unsafe_code)]

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Category, Error, Result};

/// Bytes handed to the operating system at once: some hundred rows.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

const FOLDER_REMEDY: &str = "the folder must exist and be writable";

/// An output that is either whole or recognisably not.
///
/// A regular or new file `FILE` is written as `FILE.partial`, which [`finish`](Self::finish) renames
/// onto `FILE`; until then, and for ever if the run ends early, `FILE` stays as it was. Standard
/// output and whatever exists and is no regular file (device, pipe) is written directly.
#[derive(Debug)]
pub struct OutputTarget {
    file: BufWriter<File>,
    /// What `file` is called: `FILE.partial`, a device, or `standard output`.
    path: PathBuf,
    /// The `FILE` to rename onto; none if the output is written directly.
    destination: Option<PathBuf>,
}

impl OutputTarget {
    /// Starts output to `path`, where `-`, or the file behind standard output, means that.
    ///
    /// A symbolic link stays a link: the file that it leads to is replaced. An earlier
    /// `FILE.partial` is overwritten.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // The shell may be appending to that file: it must not be renamed over.
        if path == Path::new("-") || is_standard_output(path) {
            return Self::stdout();
        }
        let impossible =
            |source, remedy| Error::io(Category::Output, path, "write", source, remedy);
        let failed = |source| impossible(source, FOLDER_REMEDY);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let source = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder");
                Err(impossible(source, "name a file in it"))
            }
            Ok(metadata) if metadata.is_file() && metadata.permissions().readonly() => {
                let source = io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only");
                let remedy = "make it writable or choose another output";
                Err(impossible(source, remedy))
            }
            Ok(metadata) if metadata.is_file() => {
                let file = follow_links(path).map_err(failed)?;
                Self::partial(file, Some(metadata.permissions()))
            }
            Ok(_) => {
                let file = File::options().write(true).open(path);
                let file = file.map_err(|source| impossible(source, "it must be writable"))?;
                Ok(Self::new(file, path, None))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.file_name().is_some() => {
                Self::partial(follow_links(path).map_err(failed)?, None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Like [`create`](Self::create), but only to a regular or new file: of no other can the beginning
    /// be overwritten.
    pub(super) fn create_rewritable(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::check_rewritable(path)?;
        Self::create(path)
    }

    /// Whether [`create_rewritable`](Self::create_rewritable) would take what is at `path`.
    pub(super) fn check_rewritable(path: &Path) -> Result<()> {
        let refused = |problem, remedy| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, problem);
            Err(Error::io(Category::Output, path, "write", source, remedy))
        };
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                let remedy = "remove it or choose another folder";
                refused("it is no regular file", remedy)
            }
            Ok(_) if is_standard_output(path) => {
                let remedy = "choose another folder or send standard output elsewhere";
                refused("it is standard output", remedy)
            }
            _ => Ok(()),
        }
    }

    /// Whether output to `path` would become the file `other`, which need not be there yet.
    pub(super) fn is_output_to(path: &Path, other: &Path) -> bool {
        let place = |path: &Path| {
            match fs::metadata(path) {
                // Among them: links that lead in circles.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
                _ => {}
            }
            let path = follow_links(path).ok()?;
            let folder = match path.parent()? {
                here if here == Path::new("") => Path::new("."),
                folder => folder,
            };
            Some((folder.canonicalize().ok()?, path.file_name()?.to_owned()))
        };
        place(path).is_some_and(|found| Some(found) == place(other))
    }

    fn new(file: File, path: impl Into<PathBuf>, destination: Option<PathBuf>) -> Self {
        Self {
            file: BufWriter::with_capacity(WRITE_BUFFER_BYTES, file),
            path: path.into(),
            destination,
        }
    }

    fn stdout() -> Result<Self> {
        const NAME: &str = "standard output";
        let file = stdout_file().map_err(|source| Error::write(NAME, source))?;
        Ok(Self::new(file, NAME, None))
    }

    /// Starts `destination.partial`, with the permissions of the file that it will replace.
    fn partial(destination: PathBuf, permissions: Option<Permissions>) -> Result<Self> {
        let mut path = destination.clone().into_os_string();
        path.push(".partial");
        let path = PathBuf::from(path);
        let file = create_anew(&path, permissions).map_err(|source| {
            Error::io(Category::Output, &path, "create", source, FOLDER_REMEDY)
        })?;
        Ok(Self::new(file, path, Some(destination)))
    }

    /// The file that holds the incomplete output until [`finish`](Self::finish), if there is one.
    pub fn partial_path(&self) -> Option<&Path> {
        self.destination.is_some().then_some(&self.path)
    }

    /// Appends `bytes`.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|source| Error::write(&self.path, source))
    }

    /// Writes `bytes` over the first ones of a [rewritable](Self::create_rewritable) output; what is
    /// appended afterwards follows the end as before. If it fails, the first bytes are as they were or
    /// partly `bytes`.
    pub(super) fn overwrite_start(&mut self, bytes: &[u8]) -> Result<()> {
        let file = &mut self.file; // Seeking hands on what is buffered first.
        file.rewind()
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map(drop)
            .map_err(|source| Error::write(&self.path, source))
    }

    /// Hands on what is still buffered; of a file, all bytes are on the disk then.
    pub(super) fn sync(&mut self) -> Result<()> {
        let mut synced = self.file.flush();
        if self.destination.is_some() {
            synced = synced.and_then(|()| self.file.get_ref().sync_all());
        }
        synced.map_err(|source| Error::write(&self.path, source))
    }

    /// Completes the output: all bytes are on the disk before the file gets its own name.
    pub fn finish(mut self) -> Result<()> {
        self.sync()?;
        let Some(destination) = self.destination else {
            return Ok(());
        };
        fs::rename(&self.path, &destination).map_err(|source| {
            let action = "move the complete .partial file here";
            let remedy = "clear the place and move it by hand";
            Error::io(Category::Output, destination, action, source, remedy)
        })
    }

    /// Gives up: hands on what is still buffered, if the output takes it, and says where the
    /// incomplete output lies, if it is a file.
    pub fn keep_partial(mut self) -> Option<PathBuf> {
        // Whatever made the run end early is the error to report, not a second one from here.
        let _ = self.file.flush();
        self.destination.map(|_| self.path)
    }
}

/// Whether `path` leads to the file behind standard output: /dev/stdout, /dev/fd/1, a link to them, or
/// the file's own name.
#[cfg(unix)]
fn is_standard_output(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let stdout = stdout_file().and_then(|file| file.metadata());
    matches!((fs::metadata(path), stdout), (Ok(a), Ok(b)) if same(&a, &b))
}

#[cfg(not(unix))]
fn is_standard_output(_: &Path) -> bool {
    false
}

/// Standard output as a file: its errors are all reported, and no second buffer lies in between.
fn stdout_file() -> io::Result<File> {
    #[cfg(unix)]
    let stdout = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let stdout = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(stdout.into())
}

/// Where `path` leads once it is no symbolic link, whether or not something is there. It must not
/// lead in circles.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    while path.is_symlink() {
        let link = fs::read_link(&path)?;
        path.pop();
        path.push(link);
    }
    Ok(path)
}

/// Creates a file in the place of an earlier one, which is removed and not written to: it may be a
/// link, or still be open elsewhere.
fn create_anew(path: &Path, permissions: Option<Permissions>) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::create_new(path)?;
    if let Some(permissions) = permissions
        && permissions != file.metadata()?.permissions()
    {
        file.set_permissions(permissions)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// The names in the folder, in order.
        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.path()).expect("a folder");
            let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
            let mut names: Vec<_> = entries
                .map(|entry| name(entry).into_string().expect("UTF-8"))
                .collect();
            names.sort();
            names
        }
    }

    fn content(path: impl AsRef<Path>) -> String {
        fs::read_to_string(path).expect("a text file")
    }

    fn write_whole(path: impl AsRef<Path>, text: &str) {
        let mut target = OutputTarget::create(path).expect("a target");
        target.write_all(text.as_bytes()).expect("written");
        target.finish().expect("finished");
    }

    #[test]
    fn a_file_appears_when_it_is_whole() {
        let folder = Folder::new();
        let path = folder.path("rows.jsonl");
        for text in ["first", "second"] {
            let before = fs::read_to_string(&path).ok();
            let mut target = OutputTarget::create(&path).expect("a target");
            target.write_all(text.as_bytes()).expect("written");
            assert_eq!(
                target.partial_path(),
                Some(&*folder.path("rows.jsonl.partial"))
            );
            assert_eq!(fs::read_to_string(&path).ok(), before);
            target.finish().expect("finished");
            assert_eq!(content(&path), text);
            assert_eq!(folder.names(), ["rows.jsonl"]);
        }
    }

    #[test]
    fn an_early_end_keeps_both_the_partial_file_and_the_earlier_output() {
        let folder = Folder::new();
        let path = folder.path("rows.jsonl");
        fs::write(&path, "earlier").expect("a file");
        fs::write(
            folder.path("rows.jsonl.partial"),
            "an earlier, longer partial file",
        )
        .expect("a file");

        let mut target = OutputTarget::create(&path).expect("a target");
        target.write_all(b"half").expect("written");
        let partial = target.keep_partial().expect("a partial file");
        assert_eq!(content(partial), "half");
        assert_eq!(content(&path), "earlier");
        assert_eq!(folder.names(), ["rows.jsonl", "rows.jsonl.partial"]);
    }

    #[test]
    fn impossible_outputs_are_refused_at_once() {
        let folder = Folder::new();
        fs::write(folder.path("file"), "").expect("a file");
        let partial = folder.path("blocked.partial");
        fs::create_dir(&partial).expect("a folder");
        for (path, reason) in [
            (folder.path(""), "it is a folder; name a file in it"),
            (
                folder.path("missing/rows.jsonl"),
                "the folder must exist and be writable",
            ),
            (folder.path("file/rows.jsonl"), "cannot write"),
            (folder.path("blocked"), "cannot create"),
            (PathBuf::new(), "cannot write"),
        ] {
            let error = OutputTarget::create(&path).expect_err("impossible");
            assert_eq!(error.category(), Category::Output);
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert_eq!(folder.names(), ["blocked.partial", "file"]);
    }

    #[test]
    fn a_read_only_file_is_left_alone() {
        let folder = Folder::new();
        let path = folder.path("rows.jsonl");
        fs::write(&path, "earlier").expect("a file");
        let mut permissions = fs::metadata(&path).expect("a file").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).expect("my file");
        let error = OutputTarget::create(&path).expect_err("read-only");
        assert!(error.to_string().contains("it is read-only; "), "{error}");
        assert_eq!(folder.names(), ["rows.jsonl"]);
    }

    #[test]
    fn a_rename_that_fails_is_reported_and_keeps_the_partial_file() {
        let folder = Folder::new();
        let path = folder.path("rows.jsonl");
        let mut target = OutputTarget::create(&path).expect("a target");
        target.write_all(b"whole").expect("written");
        fs::create_dir(&path).expect("a folder in the way");
        let error = target.finish().expect_err("a folder is in the way");
        assert_eq!(error.category(), Category::Output);
        assert_eq!(content(folder.path("rows.jsonl.partial")), "whole");
    }

    #[test]
    fn the_beginning_can_be_overwritten_at_any_time() {
        let folder = Folder::new();
        let path = folder.path("rows");
        let mut target = OutputTarget::create_rewritable(&path).expect("a target");
        target.write_all(b"0 rows: ").expect("written");
        target.write_all(b"ab").expect("written");
        target.overwrite_start(b"2").expect("overwritten");
        target.write_all(b"c").expect("written");
        target.overwrite_start(b"3").expect("overwritten");
        target.finish().expect("finished");
        assert_eq!(content(&path), "3 rows: abc");
        assert_eq!(folder.names(), ["rows"]);
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        use std::thread;

        use super::*;

        #[test]
        fn links_stay_links() {
            let folder = Folder::new();
            fs::create_dir(folder.path("data")).expect("a folder");
            let file = folder.path("data/rows.jsonl");
            symlink("data/rows.jsonl", folder.path("relative")).expect("a link");
            symlink(folder.path("relative"), folder.path("chain")).expect("a link");
            // The links dangle at first, and lead to a file then.
            for text in ["first", "second"] {
                write_whole(folder.path("chain"), text);
                assert_eq!(content(&file), text);
                assert!(folder.path("relative").is_symlink() && folder.path("chain").is_symlink());
                assert_eq!(folder.names(), ["chain", "data", "relative"]);
            }
        }

        #[test]
        fn links_in_circles_are_refused() {
            let folder = Folder::new();
            symlink("b", folder.path("a")).expect("a link");
            symlink("a", folder.path("b")).expect("a link");
            assert!(OutputTarget::create(folder.path("a")).is_err());
        }

        #[test]
        fn a_partial_file_that_is_a_link_is_not_written_through() {
            let folder = Folder::new();
            let path = folder.path("rows.jsonl");
            fs::write(folder.path("precious"), "gold").expect("a file");
            symlink("precious", folder.path("rows.jsonl.partial")).expect("a link");
            write_whole(&path, "rows");
            assert_eq!(content(folder.path("precious")), "gold");
            assert!(!path.is_symlink());
            assert_eq!(content(&path), "rows");
        }

        #[test]
        fn permissions_of_the_earlier_output_stay() {
            let folder = Folder::new();
            let path = folder.path("rows.jsonl");
            fs::write(&path, "secret").expect("a file");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("my file");
            write_whole(&path, "new secret");
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }

        #[test]
        fn a_pipe_is_written_directly_and_says_when_its_reader_has_gone() {
            let folder = Folder::new();
            let path = folder.path("pipe");
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.expect("mkfifo").success());

            let reader = thread::spawn({
                let path = path.clone();
                move || content(path)
            });
            write_whole(&path, "rows");
            assert_eq!(reader.join().expect("the reader"), "rows");
            let kind = fs::symlink_metadata(&path)
                .expect("still there")
                .file_type();
            assert!(kind.is_fifo());
            assert_eq!(folder.names(), ["pipe"]);

            let reader = thread::spawn({
                let path = path.clone();
                move || drop(File::open(path).expect("the pipe"))
            });
            let mut target = OutputTarget::create(&path).expect("a target");
            reader.join().expect("the reader");
            assert_eq!(target.partial_path(), None);
            target.write_all(b"rows").expect("buffered");
            let error = target.finish().expect_err("no reader");
            assert_eq!(error.category(), Category::BrokenPipe);
        }

        #[cfg(target_os = "linux")]
        #[test]
        fn a_full_disk_is_reported_and_stays_a_device() {
            for bytes in [10, 3 * WRITE_BUFFER_BYTES] {
                let mut target = OutputTarget::create("/dev/full").expect("a target");
                let error = target
                    .write_all(&vec![b'x'; bytes])
                    .and_then(|()| target.finish())
                    .expect_err("the disk is full");
                assert_eq!(error.category(), Category::Output);
                assert!(error.to_string().contains("free some space"), "{error}");
            }
            let kind = fs::symlink_metadata("/dev/full")
                .expect("there")
                .file_type();
            assert!(kind.is_char_device());
        }
    }
}
