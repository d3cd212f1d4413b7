//! Operands in shared memory, by the canonical layouts.

use super::descriptor;
use crate::tensor::{Element, Major, Swizzle};

/// A layout: for each mode its extents and strides (in elements), innermost first.
type Mode = Vec<(u32, u32)>;

/// How an operand lies in shared memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    major: Major,
    swizzle: Swizzle,
    leading: u32,
    stride: u32,
}

impl Tiling {
    /// The canonical layout of lines and k, as CUTLASS documents them for its descriptors: with T elements in 16 bytes,
    ///
    /// ```text
    /// K-major   none ((8,m),(T,2)):((1T,SBO),(1,LBO))      MN-major  none ((T,1,m),(8,k)):((1,T,SBO),(1T,LBO))
    ///           32 B ((8,m),(T,2)):((2T,SBO),(1,T))                  32 B ((T,2,m),(8,k)):((1,T,LBO),(2T,SBO))
    ///           64 B ((8,m),(T,2)):((4T,SBO),(1,T))                  64 B ((T,4,m),(8,k)):((1,T,LBO),(4T,SBO))
    ///          128 B ((8,m),(T,2)):((8T,SBO),(1,T))                 128 B ((T,8,m),(8,k)):((1,T,LBO),(8T,SBO))
    /// ```
    fn layout(&self, element: Element) -> [Mode; 2] {
        let t = element.per_line() as u32;
        let (leading, stride) = (
            self.leading / element.bytes() as u32,
            self.stride / element.bytes() as u32,
        );
        let w = match self.swizzle {
            Swizzle::None => 1,
            Swizzle::Bytes32 => 2,
            Swizzle::Bytes64 => 4,
            Swizzle::Bytes128 => 8,
        };
        let many = u32::MAX;
        match (self.major, self.swizzle) {
            (Major::K, Swizzle::None) => [vec![(8, t), (many, stride)], vec![(t, 1), (2, leading)]],
            (Major::K, _) => [vec![(8, w * t), (many, stride)], vec![(t, 1), (2, t)]],
            (Major::Mn, Swizzle::None) => [
                vec![(t, 1), (1, t), (many, stride)],
                vec![(8, t), (many, leading)],
            ],
            (Major::Mn, _) => [
                vec![(t, 1), (w, t), (many, leading)],
                vec![(8, w * t), (many, stride)],
            ],
        }
    }

    /// Address of an element of a tile at `start`.
    pub(super) fn address(&self, start: u32, element: Element, line: usize, k: usize) -> u32 {
        let [lines, along_k] = self.layout(element);
        let offset = along(&lines, line as u32) + along(&along_k, k as u32);
        self.swizzle.apply(start + offset * element.bytes() as u32)
    }

    pub(super) fn descriptor(&self, start: u32) -> u64 {
        let swizzle = match self.swizzle {
            Swizzle::None => 0,
            Swizzle::Bytes128 => 1,
            Swizzle::Bytes64 => 2,
            Swizzle::Bytes32 => 3,
        };
        descriptor(start, self.leading, self.stride, swizzle)
    }

    /// A tiling with room between its parts, so that mixed-up strides show.
    pub(super) fn roomy(major: Major, swizzle: Swizzle, lines: usize) -> Self {
        let row = swizzle.row_bytes();
        let atom = 8 * row;
        match (major, swizzle) {
            (_, Swizzle::None) => Tiling {
                major,
                swizzle,
                leading: 144,
                stride: 320,
            },
            (Major::K, _) => Tiling {
                major,
                swizzle,
                leading: 16,
                stride: atom,
            },
            // Steps of eight k follow each other, then the next columns of atoms.
            (Major::Mn, _) if lines as u32 * 2 > row => Tiling {
                major,
                swizzle,
                leading: 2 * atom,
                stride: atom,
            },
            (Major::Mn, _) => Tiling {
                major,
                swizzle,
                leading: 0,
                stride: atom,
            },
        }
    }
}

fn along(mode: &Mode, index: u32) -> u32 {
    let mut rest = index;
    let mut offset = 0;
    for &(extent, stride) in mode {
        offset += rest % extent * stride;
        rest /= extent;
    }
    offset
}
