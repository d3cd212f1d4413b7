//! Documents in: JSON Lines, tab-separated values and plain lines of text.
//!
//! ```
//! use lexpeak::{DocumentReader, InputFormat};
//!
//! let lines = br#"{"id": 7, "text": "red planet"}
//! {"_id": "d\u00e9j\u00e0", "title": "Mars", "text": "is red"}"#;
//! let reader = DocumentReader::new(&lines[..], InputFormat::Jsonl, "example");
//! let documents = reader.collect::<lexpeak::Result<Vec<_>>>()?;
//!
//! assert_eq!(documents[0].id.as_json(), "7");
//! assert_eq!(documents[1].id.as_json(), r#""d\u00e9j\u00e0""#);
//! assert_eq!(documents[1].text, "Mars is red");
//! # Ok::<(), lexpeak::Error>(())
//! ```

#![forbid(unsafe_code)]

mod line;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::iter::FusedIterator;
use std::path::Path;

use self::line::Problem;
use crate::error::{Category, Error, Result};

/// Bytes asked of the operating system at once: enough that the calls do not show in a profile.
const READ_BUFFER_BYTES: usize = 256 << 10;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How documents are laid out in the input. It is never guessed from the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum InputFormat {
    /// One JSON object a line: `{"id": string or number, "text": "..."}`, or BEIR's
    /// `{"_id", "title", "text"}`, where a non-empty title and text are joined by one space.
    ///
    /// Other keys are ignored, and so is `title` beside `id`; null counts as absent. The format of
    /// standard input.
    #[default]
    Jsonl,
    /// `id<TAB>text`, split at the first tab; the id is a string.
    Tsv,
    /// One document a line, also for a blank line; its id is the line number, from 1.
    Text,
}

impl InputFormat {
    /// The format of a file by the extension of its name: `.jsonl`, `.ndjson` and `.json` are
    /// [`Jsonl`](Self::Jsonl), `.tsv` is [`Tsv`](Self::Tsv), all others are [`Text`](Self::Text).
    pub fn for_path(path: impl AsRef<Path>) -> Self {
        let extension = path.as_ref().extension().unwrap_or_default();
        let is = |known: &&str| extension.eq_ignore_ascii_case(known);
        if ["jsonl", "ndjson", "json"].iter().any(is) {
            Self::Jsonl
        } else if ["tsv"].iter().any(is) {
            Self::Tsv
        } else {
            Self::Text
        }
    }
}

/// The name of a document: a JSON string or number, kept exactly as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocumentId {
    json: Box<str>,
}

impl DocumentId {
    /// The id as JSON text: a string with its quotes and escapes, or a number with all its digits.
    pub fn as_json(&self) -> &str {
        &self.json
    }
}

impl From<&str> for DocumentId {
    fn from(id: &str) -> Self {
        let json = serde_json::to_string(id).expect("a string always has a JSON form");
        Self { json: json.into() }
    }
}

impl From<u64> for DocumentId {
    fn from(id: u64) -> Self {
        Self {
            json: id.to_string().into(),
        }
    }
}

/// A text to encode and the id that its row will carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique or not: ids are handed through, never compared.
    pub id: DocumentId,
    /// May be empty.
    pub text: String,
}

/// Documents of a UTF-8 stream, one a line, read as they are asked for.
///
/// A byte order mark at the start and a carriage return before a line feed are dropped; a line feed
/// at the very end starts no line. Memory is bounded by the longest line. An error names the input,
/// the line and what to do, and is the last item.
#[derive(Debug)]
pub struct DocumentReader<R> {
    reader: R,
    format: InputFormat,
    /// The input as errors call it: a path, or `standard input`.
    name: String,
    /// Bytes of the current line; kept between lines for its capacity.
    line: Vec<u8>,
    /// Number of the current line, from 1; 0 before the first.
    line_number: u64,
    done: bool,
}

impl DocumentReader<Box<dyn BufRead + Send>> {
    /// Reads the file at `path`.
    pub fn open(path: impl AsRef<Path>, format: InputFormat) -> Result<Self> {
        let path = path.as_ref();
        let failed = |source, remedy| Error::io(Category::Input, path, "open", source, remedy);
        let unreadable = |source| failed(source, "name a file that exists and is readable");
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            let source = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder");
            return Err(failed(source, "name a file in it"));
        }
        Ok(Self::buffered(file, format, path.display().to_string()))
    }

    /// Reads standard input.
    pub fn stdin(format: InputFormat) -> Self {
        Self::buffered(io::stdin(), format, "standard input")
    }

    fn buffered(
        source: impl io::Read + Send + 'static,
        format: InputFormat,
        name: impl Into<String>,
    ) -> Self {
        let reader = BufReader::with_capacity(READ_BUFFER_BYTES, source);
        Self::new(Box::new(reader), format, name)
    }
}

impl<R: BufRead> DocumentReader<R> {
    /// Reads from `reader`, which errors will call `name`.
    pub fn new(reader: R, format: InputFormat, name: impl Into<String>) -> Self {
        Self {
            reader,
            format,
            name: name.into(),
            line: Vec::new(),
            line_number: 0,
            done: false,
        }
    }

    fn read(&mut self) -> Result<Option<Document>> {
        self.line.clear();
        self.reader
            .read_until(b'\n', &mut self.line)
            .map_err(|source| {
                let remedy = "check where it comes from, and try again";
                Error::io(Category::Input, &self.name, "read", source, remedy)
            })?;

        let mut line = self.line.as_slice();
        if self.line_number == 0 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(None);
        }
        self.line_number += 1;
        if let Some(text) = line.strip_suffix(b"\n") {
            line = text.strip_suffix(b"\r").unwrap_or(text);
        }

        line::parse(line, self.format, self.line_number)
            .map(Some)
            .map_err(|Problem { what, remedy }| {
                Error::input_line(&self.name, self.line_number, what, remedy)
            })
    }
}

impl<R: BufRead> Iterator for DocumentReader<R> {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<R: BufRead> FusedIterator for DocumentReader<R> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All documents, or the text of the error that ends them.
    fn read(bytes: &[u8], format: InputFormat) -> Result<Vec<(String, String)>, String> {
        // A tiny buffer, so that lines and characters cross its borders.
        let reader = BufReader::with_capacity(3, bytes);
        DocumentReader::new(reader, format, "docs")
            .map(|item| item.map(|document| (document.id.as_json().to_owned(), document.text)))
            .collect::<Result<_>>()
            .map_err(|error| error.to_string())
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        let documents = read(bytes, InputFormat::Text).expect("valid text");
        documents.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn extensions_choose_the_format() {
        for name in ["a.jsonl", "a.ndjson", "a.json", "b/c.JSONL"] {
            assert_eq!(InputFormat::for_path(name), InputFormat::Jsonl, "{name}");
        }
        assert_eq!(InputFormat::for_path("a.jsonl.tsv"), InputFormat::Tsv);
        for name in ["a.txt", "jsonl", "a", ".tsv", "a.jsonl.gz", ""] {
            assert_eq!(InputFormat::for_path(name), InputFormat::Text, "{name}");
        }
    }

    #[test]
    fn lines_end_as_files_of_all_systems_end_them() {
        assert_eq!(texts(b""), [""; 0]);
        assert_eq!(texts(b"\xef\xbb\xbf"), [""; 0]);
        assert_eq!(texts(b"\n"), [""]);
        assert_eq!(texts(b"\xef\xbb\xbf\r\n"), [""]);
        assert_eq!(texts(b"a\n\nb"), ["a", "", "b"]);
        assert_eq!(texts(b"a\r\nb\r\n"), ["a", "b"]);
        // Only one carriage return, only before a line feed; only one mark, only at the start.
        assert_eq!(texts(b"a\r\r\nb\rc\r"), ["a\r", "b\rc\r"]);
        assert_eq!(
            texts("\u{feff}\u{feff}a\n\u{feff}b".as_bytes()),
            ["\u{feff}a", "\u{feff}b"]
        );
    }

    #[test]
    fn ids_of_plain_lines_are_their_numbers() {
        let documents = read(b"a\n\nb\n", InputFormat::Text).expect("valid text");
        let ids: Vec<_> = documents.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["1", "2", "3"]);
    }

    #[test]
    fn a_line_of_a_million_characters_is_one_document() {
        let text = "é".repeat(1_000_000);
        let line = format!("{{\"id\":1,\"text\":\"{text}\"}}\n");
        let documents: Vec<_> = DocumentReader::new(line.as_bytes(), InputFormat::Jsonl, "docs")
            .collect::<Result<_>>()
            .expect("valid JSON Lines");
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].text, text);
    }

    #[test]
    fn an_error_names_input_and_line_and_is_the_last_item() {
        let lines = b"{\"id\":1,\"text\":\"\"}\r\n{\"id\":2}\n{\"id\":3,\"text\":\"\"}\n";
        let mut reader = DocumentReader::new(&lines[..], InputFormat::Jsonl, "docs.jsonl");
        assert!(matches!(reader.next(), Some(Ok(_))));
        let error = reader.next().expect("an item").expect_err("no text");
        assert_eq!(error.category(), Category::Input);
        let message = error.to_string();
        assert!(
            message.starts_with("docs.jsonl, line 2: no \"text\"; "),
            "{message}"
        );
        assert!(reader.next().is_none());
        assert!(reader.next().is_none());
    }

    #[test]
    fn a_failing_stream_is_an_error_not_an_end() {
        struct Failing;
        impl io::Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the cable is out"))
            }
        }
        let mut reader = DocumentReader::new(BufReader::new(Failing), InputFormat::Text, "docs");
        let error = reader.next().expect("an item").expect_err("cannot read");
        assert_eq!(error.category(), Category::Input);
        let said = error.to_string();
        assert!(
            said.starts_with("docs: cannot read: the cable is out; "),
            "{said}"
        );
        assert!(reader.next().is_none());
    }

    #[test]
    fn files_are_opened_or_say_why_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docs.tsv");
        std::fs::write(&path, "a\tb").expect("a file");
        let mut reader =
            DocumentReader::open(&path, InputFormat::for_path(&path)).expect("it exists");
        let document = reader.next().expect("an item").expect("valid");
        assert_eq!((document.id.as_json(), &*document.text), ("\"a\"", "b"));

        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = DocumentReader::open(&path, InputFormat::Text)
                .err()
                .expect("no file");
            assert_eq!(error.category(), Category::Input);
            let message = error.to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }

    /// The rules for lines in the shortest words, on a whole file in memory.
    fn naive_lines(content: &str) -> Vec<String> {
        let content = content.strip_prefix('\u{feff}').unwrap_or(content);
        let mut lines: Vec<_> = content.split('\n').collect();
        let last = lines.pop().filter(|line| !line.is_empty());
        let lines = lines
            .into_iter()
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
        lines.chain(last).map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn text_reads_like_the_naive_reader(content in "\u{feff}?([a\u{e9}\u{1f534}\u{feff}\t\r\n]{0,40})") {
            prop_assert_eq!(texts(content.as_bytes()), naive_lines(&content));
        }

        #[test]
        fn tsv_reads_like_the_naive_reader(content in "([ab\"\\\\]{0,3}\t[a\t\r]{0,5}\r?\n){0,9}") {
            let naive: Vec<_> = naive_lines(&content)
                .iter()
                .map(|line| {
                    let (id, text) = line.split_once('\t').expect("the pattern has a tab");
                    (serde_json::json!(id).to_string(), text.to_owned())
                })
                .collect();
            prop_assert_eq!(read(content.as_bytes(), InputFormat::Tsv), Ok(naive));
        }

        #[test]
        fn any_bytes_end_in_at_most_one_error(bytes in any::<Vec<u8>>()) {
            for format in [InputFormat::Jsonl, InputFormat::Tsv, InputFormat::Text] {
                let items: Vec<_> = DocumentReader::new(&bytes[..], format, "docs").collect();
                let errors = items.iter().filter(|item| item.is_err()).count();
                prop_assert_eq!(errors, usize::from(items.last().is_some_and(Result::is_err)));
            }
        }
    }
}
