//! Matrix descriptors: where `wgmma` finds its operands in shared memory.

use super::Swizzle;

/// Which dimension of an operand is contiguous in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Major {
    /// k: A is stored row by row, B column by column.
    K,
    /// The rows of A or the columns of B ("transposed"; 16-bit types only).
    Mn,
}

/// A decoded matrix descriptor.
///
/// An operand is a grid of core matrices: groups of eight lines by steps of 16 bytes (8 elements of 16 bits) along k. A core
/// matrix is eight chunks of 16 bytes that are a swizzle row apart: one chunk a line if k-major, one chunk a k if MN-major.
///
/// | | from one group of lines to the next | from one step along k to the next |
/// |---|---|---|
/// | k-major, no swizzle | stride | leading |
/// | k-major, swizzled | stride | 16 bytes |
/// | MN-major, no swizzle | stride | leading |
/// | MN-major, swizzled | 16 bytes inside a swizzle row, then leading | stride |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    start: u32,
    leading: u32,
    stride: u32,
    base_offset: u32,
    swizzle: Swizzle,
    major: Major,
}

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Bits that sm_90 does not define are set.
    #[error("matrix descriptor {bits:#018x} has the undefined bits {undefined:#x} set")]
    UndefinedBits {
        /// The descriptor.
        bits: u64,
        /// The bits.
        undefined: u64,
    },
    /// Lines would run over the end of their swizzle row.
    #[error(
        "matrix descriptor {bits:#018x} starts {offset} bytes into a swizzle row of {row}, and {bytes} bytes do not fit behind that"
    )]
    RowOverrun {
        /// The descriptor.
        bits: u64,
        /// Where in the row it starts.
        offset: u32,
        /// Bytes that lie in one row.
        bytes: u32,
        /// Bytes of a row.
        row: u32,
    },
}

/// Bits of a descriptor that mean something: address, leading and stride offsets, base offset, swizzle.
const DEFINED: u64 = 0x3fff | 0x3fff << 16 | 0x3fff << 32 | 7 << 49 | 3 << 62;

/// Every instruction takes 32 bytes of each line.
const BYTES_ALONG_K: u32 = 32;

impl Descriptor {
    /// Decodes a descriptor for an operand of `lines` rows or columns.
    ///
    /// # Errors
    /// When it describes no operand.
    pub fn new(bits: u64, major: Major, lines: usize) -> Result<Self, DescriptorError> {
        if bits & !DEFINED != 0 {
            return Err(DescriptorError::UndefinedBits {
                bits,
                undefined: bits & !DEFINED,
            });
        }
        let field = |shift: u32| ((bits >> shift & 0x3fff) << 4) as u32;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128,
            2 => Swizzle::Bytes64,
            _ => Swizzle::Bytes32,
        };
        let descriptor = Descriptor {
            start: field(0),
            leading: field(16),
            stride: field(32),
            base_offset: (bits >> 49 & 7) as u32,
            swizzle,
            major,
        };
        if swizzle != Swizzle::None {
            let row = swizzle.row_bytes();
            let offset = descriptor.start % row;
            let bytes = match major {
                Major::K => BYTES_ALONG_K,
                Major::Mn => row.min(2 * lines as u32),
            };
            if offset + bytes > row {
                return Err(DescriptorError::RowOverrun {
                    bits,
                    offset,
                    bytes,
                    row,
                });
            }
        }
        Ok(descriptor)
    }

    /// Addresses of the eight chunks of the core matrix at `group` of lines and `step` along k.
    #[inline]
    pub fn core(&self, group: u32, step: u32) -> [u32; 8] {
        let offset = match (self.major, self.swizzle) {
            (_, Swizzle::None) => group * self.stride + step * self.leading,
            (Major::K, _) => group * self.stride + step * 16,
            (Major::Mn, _) => {
                let per_row = self.swizzle.row_bytes() / 16;
                group % per_row * 16 + group / per_row * self.leading + step * self.stride
            }
        };
        let first = self.start + offset;
        std::array::from_fn(|chunk| {
            let address = first + chunk as u32 * self.swizzle.row_bytes();
            self.swizzle.apply_from(address, self.base_offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(start: u32, leading: u32, stride: u32, swizzle: u64) -> u64 {
        u64::from(start >> 4)
            | u64::from(leading >> 4) << 16
            | u64::from(stride >> 4) << 32
            | swizzle << 62
    }

    #[test]
    fn a_k_step_inside_a_swizzled_row_moves_the_start() {
        // 64 f16 columns, rows of 128 bytes: the second step of 16 columns begins at byte 32.
        let tile = Descriptor::new(bits(0x2020, 0, 1024, 1), Major::K, 64).unwrap();
        assert_eq!(tile.core(0, 0)[0], 0x2020);
        assert_eq!(tile.core(0, 1)[0], 0x2030);
        assert_eq!(tile.core(0, 0)[1], 0x2080 + (0x20 ^ 0x10));
        assert_eq!(tile.core(3, 0)[0], 0x2020 + 3 * 1024);
    }

    #[test]
    fn without_a_swizzle_both_offsets_count() {
        for major in [Major::K, Major::Mn] {
            let tile = Descriptor::new(bits(0x400, 128, 256, 0), major, 64).unwrap();
            assert_eq!(
                tile.core(2, 1),
                std::array::from_fn(|chunk| 0x400 + 512 + 128 + 16 * chunk as u32)
            );
        }
    }

    #[test]
    fn mn_major_rows_hold_as_many_groups_as_the_swizzle_is_wide() {
        let tile = Descriptor::new(bits(0x800, 4096, 512, 2), Major::Mn, 64).unwrap();
        assert_eq!(tile.core(3, 0)[0], 0x800 + 48);
        assert_eq!(tile.core(4, 0)[0], 0x800 + 4096);
        assert_eq!(tile.core(0, 1)[0], 0x800 + 512);
        assert_eq!(tile.core(0, 0)[2], 0x880 + 16);
    }

    #[test]
    fn a_base_offset_shifts_the_pattern() {
        let shifted = bits(0x880, 0, 1024, 1) | 1 << 49;
        let tile = Descriptor::new(shifted, Major::K, 64).unwrap();
        assert_eq!(
            tile.core(0, 0),
            std::array::from_fn(|row| (0x880 + 128 * row as u32) ^ ((row as u32) << 4))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(
            matches!(Descriptor::new(1 << 46, Major::K, 64), Err(DescriptorError::UndefinedBits { undefined, .. }) if undefined == 1 << 46)
        );
        let late = Descriptor::new(bits(0x470, 0, 1024, 1), Major::K, 64);
        assert!(matches!(
            late,
            Err(DescriptorError::RowOverrun {
                offset: 0x70,
                bytes: 32,
                row: 128,
                ..
            })
        ));
        assert!(Descriptor::new(bits(0x440, 0, 1024, 1), Major::Mn, 32).is_ok());
        assert!(Descriptor::new(bits(0x440, 0, 1024, 1), Major::Mn, 64).is_err());
    }
}
