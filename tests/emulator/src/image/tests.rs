use proptest::prelude::*;

use super::*;

const LZ4: u64 = 0x2000;
const ZSTD: u64 = 0x8000;
const EXACT: u64 = 0x10_0000;

fn text_for(target: &str) -> String {
    format!(".version 9.0\n.target {target}\n.address_size 64\n.visible .entry k()\n{{\nret;\n}}\n")
}

/// An entry with a header of 72 bytes, as nvcc writes for short file names.
fn entry(kind: u16, arch: u32, flags: u64, payload: &[u8], inflated: u64) -> Vec<u8> {
    let padded = payload.len().next_multiple_of(8);
    let compressed = if inflated == 0 {
        0
    } else {
        payload.len() as u32
    };
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(0x0101u16.to_le_bytes());
    bytes.extend(72u32.to_le_bytes());
    bytes.extend((padded as u64).to_le_bytes());
    bytes.extend(compressed.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(arch.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(flags.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(inflated.to_le_bytes());
    bytes.extend(b"a.cu\0\0\0\0");
    bytes.extend(payload);
    bytes.resize(72 + padded, 0);
    bytes
}

fn plain(arch: u32, flags: u64, target: &str) -> Vec<u8> {
    entry(1, arch, flags, text_for(target).as_bytes(), 0)
}

fn container(entries: &[Vec<u8>]) -> Vec<u8> {
    let entries = entries.concat();
    let mut bytes = fatbin::MAGIC.to_vec();
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(16u16.to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    bytes.extend(entries);
    bytes
}

/// A zstd frame of one stored block, for fewer than 256 bytes.
fn stored_zstd(text: &[u8]) -> Vec<u8> {
    let size = u8::try_from(text.len()).unwrap();
    let block = u32::from(size) << 3 | 1;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, size];
    frame.extend(&block.to_le_bytes()[..3]);
    frame.extend(text);
    frame
}

fn every_kind() -> Vec<u8> {
    let text = text_for("sm_80");
    let lz4 = lz4_flex::block::compress(text.as_bytes());
    container(&[
        entry(2, 80, 0x11, b"\x7fELF machine code", 0),
        entry(1, 80, LZ4, &lz4, text.len() as u64),
        entry(
            1,
            80,
            ZSTD,
            &stored_zstd(text.as_bytes()),
            text.len() as u64,
        ),
        plain(90, EXACT, "sm_90a"),
    ])
}

fn target(image: &[u8], capability: Capability) -> Result<String, ImageError> {
    module(image, capability).map(|module| module.target)
}

#[test]
fn the_best_entry_for_a_device() {
    let image = container(&[
        plain(75, 0, "sm_75"),
        entry(2, 90, 0x11, b"\x7fELF", 0),
        plain(90, EXACT, "sm_90a"),
        plain(80, 0, "sm_80"),
        plain(90, 0, "sm_90"),
    ]);
    assert_eq!(target(&image, (8, 0)).unwrap(), "sm_80");
    assert_eq!(target(&image, (9, 0)).unwrap(), "sm_90a");
    assert_eq!(target(&image, (10, 0)).unwrap(), "sm_90");
}

#[test]
fn older_ptx_runs_on_a_newer_device() {
    assert_eq!(
        target(&container(&[plain(80, 0, "sm_80")]), (9, 0)).unwrap(),
        "sm_80"
    );
}

#[test]
fn a_device_without_its_ptx() {
    let image = container(&[plain(90, EXACT, "sm_90a"), entry(2, 80, 0, b"\x7fELF", 0)]);
    let error = module(&image, (8, 0)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("8.0") && text.contains("compute_90a") && text.contains("arch=compute_80"),
        "{text}"
    );
    assert!(
        module(&container(&[]), (8, 0))
            .unwrap_err()
            .to_string()
            .contains("none at all")
    );
}

#[test]
fn containers_one_behind_the_other() {
    let mut image = container(&[plain(80, 0, "sm_80")]);
    image.extend(container(&[plain(90, 0, "sm_90")]));
    assert_eq!(target(&image, (9, 0)).unwrap(), "sm_90");
}

#[test]
fn compressed_text() {
    let text = text_for("sm_80");
    let lz4 = lz4_flex::block::compress(text.as_bytes());
    for (flags, payload) in [(LZ4, lz4), (ZSTD, stored_zstd(text.as_bytes()))] {
        let length = text.len() as u64;
        let image = container(&[entry(1, 80, flags, &payload, length)]);
        assert_eq!(ptx(&image, (8, 0)).unwrap(), text);
        for wrong in [length - 1, length + 1, u64::MAX] {
            let image = container(&[entry(1, 80, flags, &payload, wrong)]);
            assert!(
                matches!(ptx(&image, (8, 0)), Err(ImageError::Damaged(_))),
                "{flags:#x} {wrong}"
            );
        }
    }
    let unknown = container(&[entry(1, 80, 0, text.as_bytes(), text.len() as u64)]);
    assert!(
        ptx(&unknown, (8, 0))
            .unwrap_err()
            .to_string()
            .contains("--no-compress")
    );
}

#[test]
fn machine_code_alone() {
    let error = module(b"\x7fELF\x02\x01\x01", (9, 0)).unwrap_err();
    assert_eq!(error, ImageError::Cubin);
    assert!(error.to_string().contains("PTX"));
}

#[test]
fn text_ends_at_its_nul() {
    let text = text_for("sm_80");
    assert_eq!(
        ptx(format!("{text}\0garbage").as_bytes(), (8, 0)).unwrap(),
        text
    );
    assert!(matches!(
        module(text_for("sm_90a").as_bytes(), (8, 0)),
        Err(ImageError::WrongTarget { .. })
    ));
}

#[test]
fn a_path_that_is_not_utf8() {
    let mut text = text_for("sm_80").into_bytes();
    text.extend(b".file 1 \"/tmp/\xff.cu\"\n");
    assert_eq!(module(&text, (8, 0)).unwrap().files[0].0, 1);
}

#[test]
fn no_image() {
    assert_eq!(
        module(b"\x01\x02", (8, 0)).unwrap_err(),
        ImageError::Unknown(vec![1, 2])
    );
    assert!(matches!(module(b"", (8, 0)), Err(ImageError::Unknown(_))));
}

#[test]
fn the_length_behind_a_pointer() {
    let mut fatbin = every_kind();
    let length = fatbin.len();
    fatbin.extend([0xaa; 32]);
    // SAFETY: a complete container.
    assert_eq!(unsafe { bytes(fatbin.as_ptr()) }.unwrap().len(), length);
    let text = format!("{}\0 behind", text_for("sm_80"));
    // SAFETY: NUL-terminated text.
    assert_eq!(
        unsafe { bytes(text.as_ptr()) }.unwrap(),
        text_for("sm_80").as_bytes()
    );
    // SAFETY: NUL-terminated, shorter than the magic number.
    assert_eq!(unsafe { bytes(c"//".as_ptr().cast()) }.unwrap(), b"//");
    // SAFETY: a NUL byte.
    assert!(unsafe { bytes(c"".as_ptr().cast()) }.is_err());
    // SAFETY: four readable bytes.
    assert_eq!(unsafe { bytes(b"\x7fELF".as_ptr()) }.unwrap(), b"\x7fELF");
}

#[test]
fn every_truncation_is_an_answer() {
    let image = every_kind();
    for length in 0..image.len() {
        assert!(module(&image[..length], (9, 0)).is_err(), "{length}");
    }
    assert!(module(&image, (9, 0)).is_ok());
}

proptest! {
    #[test]
    fn damage_never_panics(
        damage in prop::collection::vec((0usize..2000, any::<u8>()), 1..6),
        capability in prop::sample::select(vec![(8, 0), (9, 0)]),
    ) {
        let mut image = every_kind();
        for (at, byte) in damage {
            let at = at % image.len();
            image[at] = byte;
        }
        // Any answer is fine: the point is that there is one.
        let _ = module(&image, capability);
    }

    #[test]
    fn sizes_never_panic(entry in 0usize..4, field in prop::sample::select(vec![4, 8, 16, 56]), value in any::<u64>(), shift in 0u32..64) {
        let mut image = every_kind();
        let mut at = 16;
        for _ in 0..entry {
            let payload = u64::from_le_bytes(*image[at + 8..].first_chunk().unwrap());
            at += 72 + payload as usize;
        }
        image[at + field..at + field + 8].copy_from_slice(&(value >> shift).to_le_bytes());
        let _ = module(&image, (8, 0));
        image = every_kind();
        image[8..16].copy_from_slice(&(value >> shift).to_le_bytes());
        let _ = module(&image, (8, 0));
    }
}
