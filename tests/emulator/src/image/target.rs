//! What PTX was compiled for, and which devices that suits.

use std::fmt;

/// Compute capability: major and minor, `(9, 0)` for an H100.
pub type Capability = (u32, u32);

/// A PTX target. Ordered by preference: a newer one is better, and of one generation the more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Ten times the major number plus the minor one.
    pub arch: u32,
    /// Which devices may use it.
    pub portability: Portability,
}

/// How far PTX carries beyond the device that it was compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Portability {
    /// `sm_80`: every later device.
    Later,
    /// `sm_100f`: later devices of the same major number.
    Family,
    /// `sm_90a`: this device only.
    Exact,
}

impl Target {
    /// Reads `sm_90a` or `compute_90a`.
    pub fn read(text: &str) -> Option<Target> {
        let name = text
            .strip_prefix("sm_")
            .or_else(|| text.strip_prefix("compute_"))?;
        let digits = name.trim_end_matches(|character: char| !character.is_ascii_digit());
        let portability = match &name[digits.len()..] {
            "" => Portability::Later,
            "f" => Portability::Family,
            "a" => Portability::Exact,
            _ => return None,
        };
        Some(Target {
            arch: digits.parse().ok()?,
            portability,
        })
    }

    /// Whether a device of this compute capability runs it.
    pub fn runs_on(&self, (major, minor): Capability) -> bool {
        let device = 10 * major + minor;
        match self.portability {
            Portability::Later => self.arch <= device,
            Portability::Family => self.arch <= device && self.arch / 10 == major,
            Portability::Exact => self.arch == device,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.portability {
            Portability::Later => "",
            Portability::Family => "f",
            Portability::Exact => "a",
        };
        write!(f, "compute_{}{suffix}", self.arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_what() {
        let runs = |name, capability| Target::read(name).unwrap().runs_on(capability);
        assert!(runs("sm_80", (8, 0)) && runs("sm_80", (9, 0)) && runs("sm_75", (8, 0)));
        assert!(!runs("sm_90", (8, 0)) && !runs("sm_86", (8, 0)));
        assert!(runs("sm_90a", (9, 0)) && !runs("sm_90a", (8, 0)) && !runs("sm_90a", (10, 0)));
        assert!(runs("sm_100f", (10, 3)) && !runs("sm_100f", (12, 0)) && !runs("sm_103f", (10, 0)));
    }

    #[test]
    fn names_there_and_back() {
        for name in ["compute_80", "compute_90a", "compute_100f"] {
            assert_eq!(Target::read(name).unwrap().to_string(), name);
        }
        for name in ["sm_", "sm_90x", "90", "sm_9a0", "sm_99999999999", "sm_90aa"] {
            assert_eq!(Target::read(name), None, "{name}");
        }
    }

    #[test]
    fn preference() {
        let [old, plain, exact] =
            ["sm_80", "sm_90", "sm_90a"].map(|name| Target::read(name).unwrap());
        assert!(old < plain && plain < exact);
    }
}
