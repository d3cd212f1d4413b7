//! Dense vectors and multi-vectors in files of their own, which programs map instead of parsing.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::npy::{Element, NpyFile};
use super::{OutputTarget, RowWriter};
use crate::embeddings::Embedding;
use crate::error::{Category, Error, Result};
use crate::input::DocumentId;
use crate::vectors::MultiVector;

/// Values that are brought into the form of the file at a time: they stay in a core's L1.
const PIECE: usize = 1 << 12;

const DENSE_FILE: &str = "dense.npy";
const COLBERT_FILE: &str = "colbert.npy";
const OFFSETS_FILE: &str = "colbert_offsets.npy";

/// How the values of vectors lie in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum VectorType {
    /// In 32 bits, NumPy's `<f4`: as the CPU computes them. Those of a GPU have 16 bits, and lose nothing there.
    #[default]
    F32,
    /// Rounded to the nearest of 16 bits, NumPy's `<f2`: half of the space.
    F16,
}

/// Which vectors go to files, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VectorLayout {
    /// Values of a document's dense vector; none if there are no such vectors.
    pub dense: Option<usize>,
    /// Values of each of a document's multi-vectors; none if there are no such vectors.
    pub colbert: Option<usize>,
    /// How a value is stored.
    pub dtype: VectorType,
}

impl VectorLayout {
    fn check(self) -> Result<()> {
        let widths = [self.dense, self.colbert];
        if widths == [None, None] || widths.contains(&Some(0)) {
            let problem = "no vectors, or vectors without a value, are to go to files of their own";
            return Err(Error::usage(problem, "ask for dense or colbert vectors"));
        }
        Ok(())
    }

    fn files(self) -> impl Iterator<Item = &'static str> {
        let dense = self.dense.map(|_| [DENSE_FILE].as_slice());
        let colbert = self
            .colbert
            .map(|_| [COLBERT_FILE, OFFSETS_FILE].as_slice());
        dense.into_iter().chain(colbert).flatten().copied()
    }
}

/// A [`RowWriter`] that writes vectors to files of their own, and the rest to another writer.
///
/// ```text
/// FOLDER/dense.npy            [documents, H]  the dense vector of every document, in input order
/// FOLDER/colbert.npy          [vectors, M]    the vectors of all documents' tokens, end to end
/// FOLDER/colbert_offsets.npy  [documents + 1] u64: document i has the rows offsets[i]..offsets[i + 1]
/// ```
///
/// NumPy reads them, and maps them without reading: `numpy.load("dense.npy", mmap_mode="r")`. Every file is
/// `FILE.partial` until all are whole, and the rows get their own name last: where the rows of a run are whole,
/// so are its vectors. A file that the layout does not ask for is left as it was.
///
/// ```no_run
/// use lexpeak::{
///     DocumentId, Embedding, OutputFormat, OutputTarget, RowWriter, VectorFiles, VectorLayout,
/// };
///
/// let rows = OutputFormat::Jsonl.writer(OutputTarget::create("rows.jsonl")?, None);
/// let layout = VectorLayout { dense: Some(2), ..VectorLayout::default() };
/// let mut writer = Box::new(VectorFiles::create("vectors", layout, rows)?);
/// let embedding = Embedding { sparse: None, dense: Some(&[0.6, 0.8]), colbert: None };
/// writer.write(&DocumentId::from("d1"), embedding)?;
/// writer.finish()?; // vectors/dense.npy is there, [1, 2], and so is rows.jsonl: {"id":"d1"}
/// # Ok::<(), lexpeak::Error>(())
/// ```
pub struct VectorFiles {
    dense: Option<VectorFile>,
    colbert: Option<MultiVectorFiles>,
    rows: Box<dyn RowWriter>,
}

/// Vectors end to end.
struct VectorFile {
    npy: NpyFile,
    /// What the vectors are called, for errors.
    name: &'static str,
    width: usize,
    values: ValueBytes,
}

/// Brings values into the form of the file; kept between documents for its memory.
enum ValueBytes {
    F32(Vec<u8>),
    F16(Vec<f16>, Vec<u8>),
}

struct MultiVectorFiles {
    vectors: VectorFile,
    offsets: NpyFile,
    /// Vectors of all documents so far.
    end: u64,
}

impl VectorFiles {
    /// Checks, before anything is written, whether [`create`](Self::create) could start the files of `layout` in
    /// `folder`, beside rows that go to the file `rows`.
    ///
    /// # Errors
    ///
    /// If there are no vectors, or vectors without a value, if what is in the place of the folder or of a file is
    /// something else, or if the rows would go to one of the files.
    pub fn check(
        folder: impl AsRef<Path>,
        layout: VectorLayout,
        rows: impl AsRef<Path>,
    ) -> Result<()> {
        let (folder, rows) = (folder.as_ref(), rows.as_ref());
        layout.check()?;
        if fs::metadata(folder).is_ok_and(|there| !there.is_dir()) {
            return Err(no_folder(folder));
        }
        for path in layout.files().map(|file| folder.join(file)) {
            if OutputTarget::is_output_to(rows, &path) {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "vectors go there");
                let remedy = "give the rows another name";
                return Err(Error::io(Category::Output, rows, "write", source, remedy));
            }
            OutputTarget::check_rewritable(&path)?;
        }
        Ok(())
    }

    /// Starts the files of `layout` in `folder`, which is created if it is missing; what has no file there
    /// goes to `rows`.
    ///
    /// # Errors
    ///
    /// If the folder or a file cannot be created, if what is in the place of a file is no regular file, and if
    /// the layout has no vectors, or vectors without a value.
    pub fn create(
        folder: impl AsRef<Path>,
        layout: VectorLayout,
        rows: Box<dyn RowWriter>,
    ) -> Result<Self> {
        let folder = folder.as_ref();
        layout.check()?;
        create_folder(folder)?;
        let vectors =
            |file, name, width| VectorFile::create(&folder.join(file), name, width, layout.dtype);
        let dense = layout
            .dense
            .map(|width| vectors(DENSE_FILE, "dense vector", width))
            .transpose()?;
        let colbert = layout
            .colbert
            .map(|width| {
                let vectors = vectors(COLBERT_FILE, "multi-vector", width)?;
                MultiVectorFiles::create(&folder.join(OFFSETS_FILE), vectors)
            })
            .transpose()?;
        Ok(Self {
            dense,
            colbert,
            rows,
        })
    }

    fn into_files(self) -> (Vec<NpyFile>, Box<dyn RowWriter>) {
        let dense = self.dense.into_iter().map(|file| file.npy);
        let colbert = self.colbert.into_iter();
        let colbert = colbert.flat_map(|files| [files.vectors.npy, files.offsets]);
        (dense.chain(colbert).collect(), self.rows)
    }
}

impl RowWriter for VectorFiles {
    fn write(&mut self, id: &DocumentId, mut embedding: Embedding<'_>) -> Result<()> {
        // Nothing is written of an embedding that does not fit.
        let dense = match &mut self.dense {
            Some(file) => {
                let vector = embedding.dense.take();
                let vector = vector.map(|vector| (vector.len(), vector));
                Some((file.fitting(id, vector)?, file))
            }
            None => None,
        };
        let colbert = match &mut self.colbert {
            Some(files) => {
                let vectors = embedding.colbert.take();
                let vectors = vectors.map(|vectors| (vectors.width(), vectors));
                Some((files.vectors.fitting(id, vectors)?, files))
            }
            None => None,
        };
        if let Some((vector, file)) = dense {
            file.append(vector)?;
        }
        if let Some((vectors, files)) = colbert {
            files.append(vectors)?;
        }
        self.rows.write(id, embedding)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let (mut files, rows) = self.into_files();
        // All are on the disk before the first gets its name, so that a full disk costs no earlier file.
        files.iter_mut().try_for_each(NpyFile::complete)?;
        files.into_iter().try_for_each(NpyFile::finish)?;
        rows.finish()
    }

    /// Says where the rows lie.
    fn keep_partial(self: Box<Self>) -> Option<PathBuf> {
        let (files, rows) = self.into_files();
        files.into_iter().for_each(NpyFile::keep_partial);
        rows.keep_partial()
    }
}

impl VectorFile {
    fn create(path: &Path, name: &'static str, width: usize, dtype: VectorType) -> Result<Self> {
        let (element, values) = match dtype {
            VectorType::F32 => (Element::F32, ValueBytes::F32(Vec::new())),
            VectorType::F16 => (Element::F16, ValueBytes::F16(Vec::new(), Vec::new())),
        };
        Ok(Self {
            npy: NpyFile::create(path, element, Some(width))?,
            name,
            width,
            values,
        })
    }

    /// What of a document goes to this file, if it is there and has the width of its vectors.
    fn fitting<T>(&self, id: &DocumentId, vectors: Option<(usize, T)>) -> Result<T> {
        let (name, width) = (self.name, self.width);
        let problem = match vectors {
            Some((found, vectors)) if found == width => return Ok(vectors),
            Some((found, _)) => format!("a {name} has {found} values, and its file {width} a row"),
            None => format!("there is a file for every document's {name}, and here is none"),
        };
        let remedy = "give the layout the outputs and widths of the model";
        Err(Error::usage(problem, remedy).of_document(id.as_json()))
    }

    fn append(&mut self, values: &[f32]) -> Result<()> {
        for piece in values.chunks(PIECE) {
            self.npy.append(self.values.of(piece))?;
        }
        Ok(())
    }
}

impl ValueBytes {
    fn of(&mut self, values: &[f32]) -> &[u8] {
        match self {
            Self::F32(bytes) => {
                little_endian(bytes, values, f32::to_le_bytes);
                bytes
            }
            Self::F16(halves, bytes) => {
                halves.resize(values.len(), f16::ZERO);
                halves.convert_from_f32_slice(values);
                little_endian(bytes, halves, f16::to_le_bytes);
                bytes
            }
        }
    }
}

fn little_endian<T: Copy, const N: usize>(
    bytes: &mut Vec<u8>,
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
) {
    bytes.resize(values.len() * N, 0);
    for (bytes, &value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *bytes = to_bytes(value);
    }
}

impl MultiVectorFiles {
    fn create(offsets: &Path, vectors: VectorFile) -> Result<Self> {
        let mut files = Self {
            vectors,
            offsets: NpyFile::create(offsets, Element::U64, None)?,
            end: 0,
        };
        files.push_offset()?;
        Ok(files)
    }

    fn append(&mut self, vectors: MultiVector<'_>) -> Result<()> {
        self.vectors.append(vectors.values())?;
        self.end += vectors.len() as u64;
        self.push_offset()
    }

    fn push_offset(&mut self) -> Result<()> {
        self.offsets.append(&self.end.to_le_bytes())
    }
}

/// `fs::create_dir_all`, with an error that says what is in the way.
fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| {
        if fs::metadata(folder).is_ok_and(|there| !there.is_dir()) {
            return no_folder(folder);
        }
        folder_error(folder, source, "name a folder that can be written")
    })
}

fn no_folder(folder: &Path) -> Error {
    let source = io::Error::new(io::ErrorKind::NotADirectory, "it is no folder");
    folder_error(folder, source, "name a folder for the vectors")
}

fn folder_error(folder: &Path, source: io::Error, remedy: &'static str) -> Error {
    Error::io(
        Category::Output,
        folder,
        "create the folder",
        source,
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sparse::SparseRows;
    use crate::vectors::{DenseVectors, MultiVectors};
    use crate::write::OutputFormat;

    const DENSE: usize = 3;
    const COLBERT: usize = 2;
    const BOTH: VectorLayout = VectorLayout {
        dense: Some(DENSE),
        colbert: Some(COLBERT),
        dtype: VectorType::F32,
    };
    const FILES: [&str; 3] = ["colbert.npy", "colbert_offsets.npy", "dense.npy"];
    const PARTIAL: [&str; 3] = [
        "colbert.npy.partial",
        "colbert_offsets.npy.partial",
        "dense.npy.partial",
    ];

    /// A folder for vectors beside a file of rows.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn rows(&self) -> PathBuf {
            self.0.path().join("rows.jsonl")
        }

        fn vectors(&self) -> PathBuf {
            self.0.path().join("new/vectors")
        }

        fn writer(&self, layout: VectorLayout) -> Box<VectorFiles> {
            Box::new(self.try_writer(layout).expect("a writer"))
        }

        fn try_writer(&self, layout: VectorLayout) -> Result<VectorFiles> {
            let rows = OutputTarget::create(self.rows()).expect("a target");
            let rows = OutputFormat::Jsonl.writer(rows, None);
            VectorFiles::create(self.vectors(), layout, rows)
        }

        fn write(&self, layout: VectorLayout, documents: &Documents) {
            let mut writer = self.writer(layout);
            documents.write(writer.as_mut());
            writer.finish().expect("finished");
        }

        fn npy(&self, name: &str) -> Npy {
            Npy::read(&self.vectors().join(name))
        }

        /// The names in the folder for vectors, in order.
        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.vectors()).expect("a folder");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("an entry").file_name())
                .map(|name| name.into_string().expect("UTF-8"))
                .collect();
            names.sort();
            names
        }

        /// The bytes of all files, by name.
        fn contents(&self) -> Vec<(String, Vec<u8>)> {
            let read = |name: String| {
                let bytes = fs::read(self.vectors().join(&name)).expect("a file");
                (name, bytes)
            };
            self.names().into_iter().map(read).collect()
        }
    }

    struct Documents {
        sparse: SparseRows,
        dense: DenseVectors,
        colbert: MultiVectors,
    }

    impl Documents {
        /// Documents of which each has a dense vector and some vectors of tokens.
        fn new(documents: &[([f32; DENSE], Vec<[f32; COLBERT]>)]) -> Self {
            let mut made = Self {
                sparse: SparseRows::new(),
                dense: DenseVectors::new(DENSE),
                colbert: MultiVectors::new(COLBERT),
            };
            for (id, (dense, colbert)) in (0..).zip(documents) {
                made.sparse.push([(id, 0.5)]);
                made.dense.extend(dense);
                made.colbert.push(colbert.as_flattened());
            }
            made
        }

        /// Two documents, the first without vectors of tokens.
        fn two() -> Self {
            Self::new(&[
                ([1.0, -2.0, 0.1], vec![]),
                ([0.0, 4.0, 5.0], vec![[6.0, 7.0], [8.0, -0.0]]),
            ])
        }

        fn write(&self, writer: &mut dyn RowWriter) {
            for document in 0..self.sparse.len() {
                let written = writer.write(&DocumentId::from(document as u64), self.get(document));
                written.expect("written");
            }
        }

        fn get(&self, document: usize) -> Embedding<'_> {
            Embedding {
                sparse: Some(self.sparse.row(document)),
                dense: Some(self.dense.row(document)),
                colbert: Some(self.colbert.document(document)),
            }
        }
    }

    /// An array as it lies in its file.
    #[derive(Debug, PartialEq)]
    struct Npy {
        descr: String,
        shape: Vec<u64>,
        data: Vec<u8>,
    }

    impl Npy {
        /// Reads a file of format 1.0, laid out exactly as NumPy itself writes it.
        fn read(path: &Path) -> Self {
            let bytes = fs::read(path).expect("a file");
            assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
            let header_bytes = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            let (header, data) = bytes[10..].split_at(header_bytes);
            assert_eq!((10 + header_bytes) % 64, 0);
            let header = str::from_utf8(header).expect("ASCII");
            let header = header.strip_suffix('\n').expect("a line feed");
            let header = header.trim_end_matches(' ');
            let header = header.strip_prefix("{'descr': '").expect("the type");
            let header = header.strip_suffix("), }").expect("the end");
            let (descr, shape) = header
                .split_once("', 'fortran_order': False, 'shape': (")
                .expect("the order and the shape");
            let shape = match shape.strip_suffix(',') {
                Some(rows) => vec![rows],
                None => shape.split(", ").collect(),
            };
            let shape = shape.iter().map(|n| n.parse().expect("a number"));
            let read = Self {
                descr: descr.to_owned(),
                shape: shape.collect(),
                data: data.to_vec(),
            };
            let element_bytes: u64 = descr[2..].parse().expect("a size");
            let elements: u64 = read.shape.iter().product();
            assert_eq!(read.data.len() as u64, elements * element_bytes);
            read
        }

        fn new<const N: usize>(
            descr: &str,
            shape: &[u64],
            elements: impl IntoIterator<Item = [u8; N]>,
        ) -> Self {
            Self {
                descr: descr.to_owned(),
                shape: shape.to_vec(),
                data: elements.into_iter().flatten().collect(),
            }
        }

        fn f32(shape: &[u64], values: &[f32]) -> Self {
            Self::new("<f4", shape, values.iter().map(|x| x.to_le_bytes()))
        }

        fn u64(values: &[u64]) -> Self {
            let shape = [values.len() as u64];
            Self::new("<u8", &shape, values.iter().map(|x| x.to_le_bytes()))
        }
    }

    #[test]
    fn vectors_go_to_files_and_the_rest_to_the_rows() {
        let place = Place::new();
        place.write(BOTH, &Documents::two());
        assert_eq!(place.names(), FILES);
        let dense = [1.0, -2.0, 0.1, 0.0, 4.0, 5.0];
        assert_eq!(place.npy("dense.npy"), Npy::f32(&[2, 3], &dense));
        let colbert = [6.0, 7.0, 8.0, -0.0];
        assert_eq!(place.npy("colbert.npy"), Npy::f32(&[2, 2], &colbert));
        assert_eq!(place.npy("colbert_offsets.npy"), Npy::u64(&[0, 0, 2]));
        assert_eq!(
            fs::read_to_string(place.rows()).expect("rows"),
            "{\"id\":0,\"indices\":[0],\"values\":[0.5]}\n\
             {\"id\":1,\"indices\":[1],\"values\":[0.5]}\n"
        );
    }

    #[test]
    fn what_has_no_file_goes_to_the_rows() {
        let place = Place::new();
        let layout = VectorLayout {
            colbert: None,
            ..BOTH
        };
        place.write(layout, &Documents::two());
        assert_eq!(place.names(), ["dense.npy"]);
        assert_eq!(
            fs::read_to_string(place.rows()).expect("rows"),
            "{\"id\":0,\"indices\":[0],\"values\":[0.5],\"colbert\":[]}\n\
             {\"id\":1,\"indices\":[1],\"values\":[0.5],\"colbert\":[[6.0,7.0],[8.0,-0.0]]}\n"
        );
    }

    #[test]
    fn without_documents_the_arrays_are_empty() {
        let place = Place::new();
        place.write(BOTH, &Documents::new(&[]));
        assert_eq!(place.npy("dense.npy"), Npy::f32(&[0, 3], &[]));
        assert_eq!(place.npy("colbert.npy"), Npy::f32(&[0, 2], &[]));
        assert_eq!(place.npy("colbert_offsets.npy"), Npy::u64(&[0]));
        assert_eq!(fs::read_to_string(place.rows()).expect("rows"), "");
    }

    #[test]
    fn halves_are_the_nearest_and_even_between_two() {
        let ulp = f32::powi(2.0, -10); // of the halves from 1 to 2
        let rounded = [
            (1.0, 0x3c00),
            (0.1, 0x2e66),
            (-1.0 / 3.0, 0xb555),
            (1.0 + 0.5 * ulp, 0x3c00),
            (1.0 + 1.5 * ulp, 0x3c02),
            (1.0 + 0.6 * ulp, 0x3c01),
            (-0.0, 0x8000),
            (f32::powi(2.0, -24), 0x0001),
            (f32::powi(2.0, -25), 0x0000),
            (65504.0, 0x7bff),
        ];
        // More than a piece, and a last one that is not whole.
        let count = PIECE / rounded.len() * 2 * COLBERT + COLBERT;
        let values: Vec<f32> = (0..count).map(|i| rounded[i % rounded.len()].0).collect();
        let halves = (0..count).map(|i| u16::to_le_bytes(rounded[i % rounded.len()].1));

        let place = Place::new();
        let layout = VectorLayout {
            dense: None,
            colbert: Some(COLBERT),
            dtype: VectorType::F16,
        };
        let mut writer = place.writer(layout);
        let embedding = Embedding {
            sparse: None,
            dense: None,
            colbert: Some(MultiVector::new(COLBERT, &values)),
        };
        let written = writer.write(&DocumentId::from("a"), embedding);
        written.and_then(|()| writer.finish()).expect("written");
        let vectors = (count / COLBERT) as u64;
        assert_eq!(
            place.npy("colbert.npy"),
            Npy::new("<f2", &[vectors, COLBERT as u64], halves)
        );
        assert_eq!(place.npy("colbert_offsets.npy"), Npy::u64(&[0, vectors]));
        assert_eq!(
            fs::read_to_string(place.rows()).expect("rows"),
            "{\"id\":\"a\"}\n"
        );
    }

    #[test]
    fn an_early_end_leaves_partial_files_and_every_earlier_one() {
        let place = Place::new();
        place.write(BOTH, &Documents::two());
        let (earlier, rows) = (place.contents(), fs::read(place.rows()).expect("rows"));

        let ends: [fn(Box<VectorFiles>) -> Option<PathBuf>; 2] = [
            |writer| writer.keep_partial(),
            |writer| {
                drop(writer);
                None
            },
        ];
        for end in ends {
            let mut writer = place.writer(BOTH);
            Documents::new(&[([9.0; 3], vec![[9.0; 2]])]).write(writer.as_mut());
            if let Some(partial) = end(writer) {
                assert_eq!(partial, place.rows().with_extension("jsonl.partial"));
                let dense = place.npy("dense.npy.partial"); // It can be read as far as it goes.
                assert_eq!(dense, Npy::f32(&[1, 3], &[9.0; 3]));
            }
            let (partial, whole): (Vec<_>, Vec<_>) = place
                .contents()
                .into_iter()
                .partition(|(name, _)| name.ends_with(".partial"));
            assert_eq!(whole, earlier);
            assert!(partial.iter().map(|(name, _)| name).eq(PARTIAL));
            assert_eq!(fs::read(place.rows()).expect("rows"), rows);
        }

        // A later whole run replaces them all.
        place.write(BOTH, &Documents::new(&[([7.0; 3], vec![[7.0; 2]])]));
        assert_eq!(place.names(), FILES);
        assert_eq!(place.npy("dense.npy"), Npy::f32(&[1, 3], &[7.0; 3]));
        assert_eq!(place.npy("colbert.npy"), Npy::f32(&[1, 2], &[7.0; 2]));
        assert_eq!(place.npy("colbert_offsets.npy"), Npy::u64(&[0, 1]));
    }

    /// Stands in for rows, and looks what is there when they would get their own name.
    struct LastRows(PathBuf);

    impl RowWriter for LastRows {
        fn write(&mut self, _: &DocumentId, _: Embedding<'_>) -> Result<()> {
            Ok(())
        }

        fn finish(self: Box<Self>) -> Result<()> {
            for name in FILES {
                Npy::read(&self.0.join(name));
            }
            Err(Error::interrupted())
        }

        fn keep_partial(self: Box<Self>) -> Option<PathBuf> {
            None
        }
    }

    #[test]
    fn the_rows_get_their_name_last() {
        let place = Place::new();
        let rows = Box::new(LastRows(place.vectors()));
        let writer = VectorFiles::create(place.vectors(), BOTH, rows);
        let mut writer = Box::new(writer.expect("a writer"));
        Documents::two().write(writer.as_mut());
        let error = writer.finish().expect_err("the rows' own");
        assert_eq!(error.category(), Category::Interrupted);
    }

    #[test]
    fn no_file_is_replaced_before_all_are_whole() {
        let place = Place::new();
        place.write(BOTH, &Documents::two());
        fs::remove_file(place.vectors().join("dense.npy")).expect("my file");
        let mut writer = place.writer(BOTH);
        Documents::new(&[([9.0; 3], vec![[9.0; 2]])]).write(writer.as_mut());
        fs::create_dir(place.vectors().join("dense.npy")).expect("a folder in the way");
        let error = writer.finish().expect_err("a folder is in the way");
        assert!(error.to_string().contains("dense.npy: "), "{error}");

        let dense = place.npy("dense.npy.partial");
        assert_eq!(dense, Npy::f32(&[1, 3], &[9.0; 3]));
        let offsets = place.npy("colbert_offsets.npy.partial");
        assert_eq!(offsets, Npy::u64(&[0, 1]));
        assert_eq!(place.npy("colbert_offsets.npy"), Npy::u64(&[0, 0, 2]));
        let colbert = place.npy("colbert.npy.partial");
        assert_eq!(colbert, Npy::f32(&[1, 2], &[9.0; 2]));
        assert_eq!(
            fs::read_to_string(place.rows())
                .expect("rows")
                .lines()
                .count(),
            2
        );
    }

    #[test]
    fn an_embedding_that_does_not_fit_is_refused_whole() {
        let place = Place::new();
        let documents = Documents::two();
        let good = documents.get(1);
        let misfits = [
            (
                Embedding {
                    dense: None,
                    ..good
                },
                "here is none",
            ),
            (
                Embedding {
                    colbert: None,
                    ..good
                },
                "here is none",
            ),
            (
                Embedding {
                    dense: Some(&[1.0; 4]),
                    ..good
                },
                "has 4 values",
            ),
            (
                Embedding {
                    colbert: Some(MultiVector::new(1, &[1.0; 2])),
                    ..good
                },
                "has 1 values",
            ),
        ];
        let mut writer = place.writer(BOTH);
        for (misfit, reason) in misfits {
            let error = writer
                .write(&DocumentId::from("odd"), misfit)
                .expect_err("a misfit");
            assert_eq!(error.category(), Category::Usage);
            let text = error.to_string();
            assert!(
                text.starts_with("document \"odd\": ") && text.contains(reason),
                "{text}"
            );
        }
        writer.finish().expect("finished");
        assert_eq!(place.npy("dense.npy"), Npy::f32(&[0, 3], &[]));
        assert_eq!(place.npy("colbert_offsets.npy"), Npy::u64(&[0]));
        assert_eq!(fs::read_to_string(place.rows()).expect("rows"), "");
    }

    /// The error of a writer that must not be.
    fn refusal(place: &Place, layout: VectorLayout) -> String {
        match place.try_writer(layout) {
            Ok(_) => panic!("it must be refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_layout_without_vectors_is_refused() {
        for dense in [None, Some(0)] {
            let place = Place::new();
            let layout = VectorLayout {
                dense,
                ..VectorLayout::default()
            };
            let error = refusal(&place, layout);
            assert!(error.contains("ask for dense or colbert"), "{error}");
            assert!(!place.vectors().exists());
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named() {
        let place = Place::new();
        let parent = place.0.path().join("new");
        fs::write(&parent, "").expect("a file");
        let error = refusal(&place, BOTH);
        assert!(
            error.contains("name a folder that can be written"),
            "{error}"
        );
        fs::remove_file(&parent).expect("my file");

        fs::create_dir(parent).expect("a folder");
        fs::write(place.vectors(), "precious").expect("a file");
        let error = refusal(&place, BOTH);
        let folder = place.vectors();
        let expected = format!(
            "{}: cannot create the folder: it is no folder; name a folder for the vectors",
            folder.display()
        );
        assert_eq!(error, expected);
        assert_eq!(fs::read(folder).expect("a file"), b"precious");
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_is_refused() {
        let place = Place::new();
        let blocked = place.vectors().join("colbert_offsets.npy");
        fs::create_dir_all(&blocked).expect("a folder");
        let error = refusal(&place, BOTH);
        let expected = format!(
            "{}: cannot write: it is no regular file; remove it or choose another folder",
            blocked.display()
        );
        assert_eq!(error, expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_device_are_refused_at_once() {
        let place = Place::new();
        fs::create_dir_all(place.vectors()).expect("a folder");
        let path = place.vectors().join("dense.npy");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success());
        // Open at both ends: whoever opened it all the same would not wait, and the test would fail.
        let ends = fs::File::options().read(true).write(true).open(&path);
        let _ends = ends.expect("a pipe");
        let error = refusal(&place, BOTH);
        assert!(
            error.contains("dense.npy: cannot write: it is no regular file"),
            "{error}"
        );

        fs::remove_file(&path).expect("my pipe");
        std::os::unix::fs::symlink("/dev/null", &path).expect("a link");
        let error = refusal(&place, BOTH);
        assert!(error.contains("it is no regular file"), "{error}");
    }

    fn value() -> impl Strategy<Value = f32> {
        any::<u32>()
            .prop_map(f32::from_bits)
            .prop_filter("finite", |x| x.is_finite())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))] // Each writes four files to the disk.

        #[test]
        fn vectors_read_back_bit_for_bit(
            documents in proptest::collection::vec(
                (
                    proptest::array::uniform3(value()),
                    proptest::collection::vec(proptest::array::uniform2(value()), 0..5),
                ),
                0..5,
            ),
        ) {
            let place = Place::new();
            let documents = Documents::new(&documents);
            place.write(BOTH, &documents);
            let count = documents.sparse.len();
            let shape = [count as u64, DENSE as u64];
            prop_assert_eq!(place.npy("dense.npy"), Npy::f32(&shape, documents.dense.values()));

            let (mut values, mut offsets) = (Vec::new(), vec![0]);
            for document in 0..count {
                values.extend_from_slice(documents.colbert.document(document).values());
                offsets.push((values.len() / COLBERT) as u64);
            }
            let shape = [offsets[count], COLBERT as u64];
            prop_assert_eq!(place.npy("colbert.npy"), Npy::f32(&shape, &values));
            prop_assert_eq!(place.npy("colbert_offsets.npy"), Npy::u64(&offsets));
        }
    }
}
