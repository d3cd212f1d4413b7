#![forbid(unsafe_code)]

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::CompressionMethod;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::model::checkpoint::StoredType;

/// Writes pickles by hand.
#[derive(Clone, Default)]
struct Pickle(Vec<u8>);

impl Pickle {
    fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        let len = u32::try_from(text.len()).unwrap();
        self.op(b"X").op(&len.to_le_bytes()).op(text.as_bytes())
    }

    /// As Python writes numbers that need more than 32 bits.
    fn int(self, int: i64) -> Self {
        self.op(b"\x8a\x08").op(&int.to_le_bytes())
    }

    fn ints(self, ints: &[i64]) -> Self {
        let begun = self.op(b"(");
        ints.iter().fold(begun, |p, &int| p.int(int)).op(b"t")
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    fn storage(self, class: &str, key: &str, len: i64) -> Self {
        self.op(b"(")
            .text("storage")
            .global("torch", class)
            .text(key)
            .text("cpu")
            .int(len)
            .op(b"tQ")
    }

    /// The call that rebuilds a view of storage `0`, eight f32.
    fn tensor(self, offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .op(b"(")
            .storage("FloatStorage", "0", 8)
            .int(offset)
            .ints(shape)
            .ints(strides)
            .op(b"\x89")
            .global("collections", "OrderedDict")
            .op(b")RtR")
    }

    fn state_dict(self) -> Self {
        self.op(b"\x80\x02")
            .global("collections", "OrderedDict")
            .op(b")Rq\x00(")
    }

    fn end(self) -> Vec<u8> {
        self.op(b"u.").0
    }
}

/// A state dict with everything in it that is allowed.
fn full_pickle() -> Vec<u8> {
    Pickle::default()
        .state_dict()
        .text("plain")
        .tensor(0, &[2, 4], &[4, 1])
        .op(b"q\x01")
        .text("tied")
        .op(b"h\x01")
        .text("parameter")
        .global("torch._utils", "_rebuild_parameter")
        .tensor(2, &[3], &[1])
        .op(b"\x88N\x87R")
        .text("half")
        .global("torch._utils", "_rebuild_tensor_v2")
        .op(b"(")
        .storage("HalfStorage", "1", 3)
        .op(b"K\x01K\x02\x85K\x01\x85\x89NtR")
        .text("ids")
        .global("torch._utils", "_rebuild_tensor_v2")
        .op(b"(")
        .storage("LongStorage", "2", 1)
        .op(b"K\x00))\x89NtR")
        .text("_extra_state")
        .op(b"](NG\0\0\0\0\0\0\0\0M\x01\x02e")
        .op(b"u}")
        .text("_metadata")
        .op(b"}sb.")
        .0
}

const BYTE_ORDER: (&str, &[u8]) = ("byteorder", b"little");
const STORAGES: [(&str, &[u8]); 3] = [
    ("data/0", &[1; 32]),
    ("data/1", &[2; 6]),
    ("data/2", &[3; 8]),
];

fn archive(pickle: &[u8], others: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("data.pkl", pickle)].iter().chain(others) {
        zip.start_file(format!("model/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn full_archive(pickle: &[u8]) -> Vec<u8> {
    let [zero, one, two] = STORAGES;
    archive(pickle, &[BYTE_ORDER, zero, one, two])
}

/// The problem that a pickle has beside sound storages.
fn problem(pickle: &[u8]) -> String {
    problem_of_file(&full_archive(pickle))
}

fn problem_of_file(file: &[u8]) -> String {
    layouts(file).expect_err("it should be refused").problem
}

/// The problem that a state dict of one such tensor has.
fn problem_of_tensor(offset: i64, shape: &[i64], strides: &[i64]) -> String {
    let dict = Pickle::default().state_dict().text("w");
    problem(&dict.tensor(offset, shape, strides).end())
}

#[track_caller]
fn assert_says(problem: &str, part: &str) {
    assert!(problem.contains(part), "{problem:?} lacks {part:?}");
}

#[test]
fn finds_every_tensor() {
    let file = full_archive(&full_pickle());
    let tensors = layouts(&file).unwrap();
    let seen: Vec<_> = tensors
        .iter()
        .map(|(name, t)| {
            (
                name.as_str(),
                t.stored_type,
                t.shape.as_slice(),
                &file[t.bytes.clone()],
            )
        })
        .collect();
    let expected: [(&str, StoredType, &[usize], &[u8]); 5] = [
        ("half", StoredType::F16, &[2], &[2; 4]),
        ("ids", StoredType::Other("I64"), &[], &[3; 8]),
        ("parameter", StoredType::F32, &[3], &[1; 12]),
        ("plain", StoredType::F32, &[2, 4], &[1; 32]),
        ("tied", StoredType::F32, &[2, 4], &[1; 32]),
    ];
    assert_eq!(seen, expected);
    assert_eq!(tensors["plain"].bytes, tensors["tied"].bytes);
    assert_eq!(
        tensors["parameter"].bytes.start,
        tensors["plain"].bytes.start + 8
    );
    assert_eq!(
        &file[tensors["half"].bytes.end..][..2],
        b"PK",
        "the storage's last number was not taken"
    );
}

#[test]
fn reads_a_file_and_names_it_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    std::fs::write(&path, full_archive(&full_pickle())).unwrap();
    let tensors = read(Arc::new(MappedFile::open(&path).unwrap())).unwrap();
    assert_eq!(tensors[3].name, "plain");

    std::fs::write(&path, b"").unwrap();
    let error = read(Arc::new(MappedFile::open(&path).unwrap())).unwrap_err();
    assert_says(
        &error.to_string(),
        "pytorch_model.bin: is not a file of torch.save",
    );
}

#[test]
fn takes_later_protocols() {
    // Framed, short texts, globals from the stack, and a memo that counts for itself: 0 is the
    // dict, 5 the tensor.
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes(), b"\x94"].concat();
    let pickle = Pickle::default()
        .op(b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94")
        .op(&short("w"))
        .op(&short("torch._utils"))
        .op(&short("_rebuild_tensor_v2"))
        .op(b"\x93\x94(")
        .storage("FloatStorage", "0", 8)
        .op(b"K\x00K\x08\x85K\x01\x85\x89}tR\x94sh\x00")
        .op(&short("tied"))
        .op(b"h\x05s.")
        .0;
    let tensors = layouts(&full_archive(&pickle)).unwrap();
    assert_eq!(tensors["w"].shape, [8]);
    assert_eq!(tensors["w"].bytes, tensors["tied"].bytes);
}

#[test]
fn refuses_foreign_globals() {
    for (module, name) in [
        ("os", "system"),
        ("builtins", "eval"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("torch", "load"),
        ("torch.nn.modules.linear", "Linear"),
        ("collections", "OrderedDict.__init__"),
    ] {
        let by_line = Pickle::default().op(b"\x80\x02").global(module, name);
        let by_stack = Pickle::default().text(module).text(name).op(b"\x93");
        for pickle in [by_line, by_stack] {
            let problem = problem(&pickle.text("true").op(b"\x85R.").0);
            assert_says(&problem, &format!("wants to run code, \"{module}.{name}\""));
        }
    }
}

#[test]
fn a_pickle_cut_anywhere_is_an_error() {
    let pickle = full_pickle();
    for end in 0..pickle.len() {
        problem(&pickle[..end]);
    }
}

#[test]
fn an_archive_cut_anywhere_is_an_error() {
    let file = full_archive(&full_pickle());
    for end in 0..file.len() {
        problem_of_file(&file[..end]);
    }
}

#[test]
fn missing_values_are_errors() {
    let alone = [&b"t"[..], b"e", b"u"];
    let below_a_mark = [
        &b"\x85"[..],
        b"\x86",
        b"\x87",
        b"a",
        b"s",
        b"q\0",
        b"\x94",
        b"\x93",
        b"R",
        b"b",
        b"Q",
        b".",
    ];
    for operation in alone.into_iter().chain(below_a_mark) {
        assert_says(&problem(operation), "value that is not there");
    }
    for operation in below_a_mark {
        let pickle = [b"NNN(", operation].concat();
        assert_says(&problem(&pickle), "value that is not there");
    }
    assert_says(&problem(b"h\x07."), "refers to value 7");
    assert_says(&problem(b"j\x07\x00\x00\x01."), "refers to value 16777223");
}

#[test]
fn values_of_the_wrong_kind_are_errors() {
    assert_says(&problem(b"N."), "holds no state dict");
    assert_says(&problem(b"}."), "holds no tensors");
    assert_says(&problem(b"}K\x01K\x01s."), "holds no tensors");
    assert_says(&problem(b"NK\x01K\x01s."), "fills what is no dict");
    assert_says(&problem(b"}(K\x01u."), "key without a value");
    assert_says(&problem(b"NNR."), "calls what is no function");
    assert_says(&problem(b"NQ."), "storage in an unknown way");
    assert_says(&problem(b"NN\x93."), "global by no name");
    assert_says(
        &problem(b"\x8a\x09\0\0\0\0\0\0\0\0\0."),
        "more than 64 bits",
    );
    assert_says(&problem(b"X\x01\0\0\0\xff."), "not UTF-8");
    assert_says(
        &problem(&Pickle::default().text(&"x".repeat(5000)).0),
        "5000 bytes",
    );
    let call = Pickle::default()
        .global("collections", "OrderedDict")
        .op(b"N\x85R.");
    assert_says(&problem(&call.0), "arguments that make no sense");
    let call = Pickle::default().global("torch", "FloatStorage").op(b")R.");
    assert_says(&problem(&call.0), "arguments that make no sense");
}

#[test]
fn tensors_must_lie_in_their_storage_in_order() {
    assert_says(
        &problem_of_tensor(0, &[4, 2], &[1, 4]),
        "tensor \"w\": shape [4, 2] with strides",
    );
    assert_says(&problem_of_tensor(0, &[4, 0], &[1]), "differ in length");
    assert_says(&problem_of_tensor(0, &[4, 2], &[0, 0]), "not contiguous");
    assert_says(
        &problem_of_tensor(0, &[3, 3], &[3, 1]),
        "past its 8 numbers",
    );
    assert_says(&problem_of_tensor(1, &[8], &[1]), "past its 8 numbers");
    assert_says(
        &problem_of_tensor(i64::MAX, &[8], &[1]),
        "past its 8 numbers",
    );
    assert_says(&problem_of_tensor(-1, &[8], &[1]), "-1 where a count");
    assert_says(&problem_of_tensor(0, &[-8], &[1]), "-8 where a count");
    assert_says(
        &problem_of_tensor(0, &[i64::MAX, i64::MAX], &[i64::MAX, 1]),
        "overflows",
    );
    assert_says(
        &problem_of_tensor(0, &[i64::MAX, i64::MAX, 0], &[0, 0, 1]),
        "overflows",
    );
    assert_says(&problem_of_tensor(0, &[1; 65], &[1; 65]), "65 dimensions");
}

#[test]
fn strides_that_are_never_taken_do_not_matter() {
    let pickle = Pickle::default().state_dict();
    let pickle = pickle.text("row").tensor(4, &[1, 4, 1], &[0, 1, 7]);
    let pickle = pickle.text("none").tensor(8, &[0, 4], &[0, 0]);
    let tensors = layouts(&full_archive(&pickle.end())).unwrap();
    assert_eq!(tensors["row"].bytes.len(), 16);
    assert_eq!(tensors["none"].bytes.len(), 0);
}

#[test]
fn storages_must_be_there_in_full() {
    let pickle = full_pickle();
    let [zero, one, two] = STORAGES;
    let missing = archive(&pickle, &[zero, two]);
    assert_says(
        &problem_of_file(&missing),
        "tensor \"half\": its numbers, entry data/1, are missing",
    );
    let short = archive(&pickle, &[("data/0", &[0; 31]), one, two]);
    assert_says(&problem_of_file(&short), "entry data/0 has 31 bytes");
}

#[test]
fn archives_of_another_kind_are_errors() {
    let pickle = full_pickle();
    let big = archive(&pickle, &[("byteorder", b"big")]);
    assert_says(&problem_of_file(&big), "big-endian");

    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    assert_says(&problem_of_file(legacy), "torch before 1.6");
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert_says(&problem_of_file(&tar), "torch before 1.6");
    assert_says(
        &problem_of_file(b"version https://git-lfs"),
        "no zip archive",
    );

    let mut other = ZipWriter::new(Cursor::new(Vec::new()));
    other
        .start_file("readme", SimpleFileOptions::default())
        .unwrap();
    let other = other.finish().unwrap().into_inner();
    assert_says(&problem_of_file(&other), "without the data.pkl");

    let large = archive(&vec![b'N'; (4 << 20) + 1], &[]);
    assert_says(&problem_of_file(&large), "data.pkl is far larger");
}

#[test]
fn compressed_entries_are_errors() {
    // In the entry's header in the directory, "deflate" in place of "stored".
    let mut file = full_archive(&full_pickle());
    let header = file
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    file[header + 10] = 8;
    assert_says(&problem_of_file(&file), "\"model/data/2\" is compressed");
}

#[test]
fn entries_past_the_end_of_the_file_are_errors() {
    // A size of 2 GiB in the last header of the directory.
    let mut file = full_archive(&full_pickle());
    let header = file
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    file[header + 24..][..4].copy_from_slice(&0x8000_0000_u32.to_le_bytes());
    assert_says(&problem_of_file(&file), "reaches past the end");
}

#[test]
fn nesting_and_sharing_cost_no_more_than_their_bytes() {
    // A tuple in a tuple, a million deep.
    let deep = Pickle::default().op(b")").op(&[0x85; 1_000_000]).op(b".");
    assert_says(&problem(&deep.0), "holds no state dict");

    // Doubled forty times: 2^40 values, had each its own copy.
    let doubled = Pickle::default()
        .op(b")")
        .op(&b"q\0h\0\x86".repeat(40))
        .op(b".");
    assert_says(&problem(&doubled.0), "holds no state dict");

    // A dict that holds itself.
    assert_says(&problem(b"}q\0X\x01\0\0\0wh\0s."), "holds no tensors");
}

/// All that are known, and some bytes for them to read.
const OPERATIONS: &[u8] =
    b"\x80\x95.(N\x88\x89JKM\x8aGX\x8c)\x85\x86\x87t]ae}suqr\x94hjc\x93RbQ\x00\x01\x02\n";

proptest! {
    #[test]
    fn random_pickles_never_panic(pickle: Vec<u8>) {
        let _ = machine::run(&pickle);
        let _ = layouts(&full_archive(&pickle));
    }

    #[test]
    fn random_operations_never_panic(
        pickle in proptest::collection::vec(
            proptest::sample::select(OPERATIONS),
            0..60,
        )
    ) {
        let _ = machine::run(&pickle);
    }

    #[test]
    fn changed_pickles_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut pickle = full_pickle();
        for (place, byte) in changes {
            let place = place.index(pickle.len());
            pickle[place] = byte;
        }
        let _ = layouts(&full_archive(&pickle));
    }

    #[test]
    fn changed_archives_stay_inside_the_file(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut file = full_archive(&full_pickle());
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        for layout in layouts(&file).into_iter().flatten().map(|(_, layout)| layout) {
            prop_assert!(file.get(layout.bytes).is_some());
        }
    }
}
