//! What the environment chooses: `STANDIN_CC`, `STANDIN_DEVICES`, `STANDIN_MEMORY`, `STANDIN_SEED`, `STANDIN_REPORT`.

use std::ffi::OsString;
use std::path::PathBuf;

/// Most devices: each has an address range of its own.
pub const MAX_DEVICES: usize = 8;

/// Memory of a device unless asked otherwise, and at most: far less than a GPU has, so that a program that wants too much for
/// most machines is told so. Only what is touched costs memory of the host.
pub const MEMORY: u64 = 16 << 30;

/// Compute capabilities that the stand-in can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// 7.5, as a T4: for what programs say of a GPU that is too old for them.
    Turing,
    /// 8.0, as an A100.
    Ampere,
    /// 9.0, as an H100.
    Hopper,
}

impl Capability {
    /// Major and minor number.
    pub fn numbers(self) -> (u32, u32) {
        match self {
            Capability::Turing => (7, 5),
            Capability::Ampere => (8, 0),
            Capability::Hopper => (9, 0),
        }
    }

    /// The capability with these numbers.
    pub fn from_numbers(major: u32, minor: u32) -> Option<Self> {
        [Capability::Turing, Capability::Ampere, Capability::Hopper]
            .into_iter()
            .find(|one| one.numbers() == (major, minor))
    }
}

/// The choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the devices are.
    pub capability: Capability,
    /// How many there are.
    pub devices: usize,
    /// Bytes of memory that each has.
    pub memory: u64,
    /// Schedule seed; 0 is the default order.
    pub seed: u64,
    /// Where reports are appended.
    pub report: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            capability: Capability::Hopper,
            devices: 1,
            memory: MEMORY,
            seed: 0,
            report: None,
        }
    }
}

impl Settings {
    /// Reads the variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable whose value cannot be used, and the values that can.
    pub fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let text = |name: &str| -> Result<Option<String>, String> {
            let value = lookup(name).map(|value| {
                value
                    .into_string()
                    .map_err(|value| format!("{name}={}: not text", value.display()))
            });
            value.transpose()
        };
        let mut settings = Settings::default();
        if let Some(value) = text("STANDIN_CC")? {
            settings.capability = match value.as_str() {
                "7.5" => Capability::Turing,
                "8.0" => Capability::Ampere,
                "9.0" => Capability::Hopper,
                _ => {
                    return Err(format!(
                        "STANDIN_CC={value}: the stand-in has compute capability 7.5, 8.0 or 9.0"
                    ));
                }
            };
        }
        if let Some(value) = text("STANDIN_DEVICES")? {
            settings.devices = (value.parse().ok())
                .filter(|count| (1..=MAX_DEVICES).contains(count))
                .ok_or_else(|| {
                    format!("STANDIN_DEVICES={value}: a number from 1 to {MAX_DEVICES} is wanted")
                })?;
        }
        if let Some(value) = text("STANDIN_MEMORY")? {
            settings.memory = (value.parse().ok())
                .filter(|megabytes| (1..=MEMORY >> 20).contains(megabytes))
                .map(|megabytes| megabytes << 20)
                .ok_or_else(|| {
                    let most = MEMORY >> 20;
                    format!("STANDIN_MEMORY={value}: a number of MiB from 1 to {most} is wanted")
                })?;
        }
        if let Some(value) = text("STANDIN_SEED")? {
            settings.seed = value.parse().map_err(|_| {
                format!(
                    "STANDIN_SEED={value}: a number from 0 to {} is wanted",
                    u64::MAX
                )
            })?;
        }
        settings.report = lookup("STANDIN_REPORT").map(PathBuf::from);
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings, String> {
        Settings::read(|asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn values_are_taken_or_named() {
        assert_eq!(Settings::read(|_| None), Ok(Settings::default()));
        assert_eq!(
            read("STANDIN_CC", "8.0").unwrap().capability,
            Capability::Ampere
        );
        assert_eq!(
            read("STANDIN_CC", "9.0").unwrap().capability,
            Capability::Hopper
        );
        assert_eq!(
            read("STANDIN_CC", "7.5").unwrap().capability,
            Capability::Turing
        );
        assert_eq!(read("STANDIN_DEVICES", "2").unwrap().devices, 2);
        assert_eq!(read("STANDIN_MEMORY", "64").unwrap().memory, 64 << 20);
        assert_eq!(
            read("STANDIN_SEED", "18446744073709551615").unwrap().seed,
            u64::MAX
        );
        assert_eq!(
            read("STANDIN_REPORT", "a/b").unwrap().report,
            Some("a/b".into())
        );
        for (name, value) in [
            ("STANDIN_CC", "7.0"),
            ("STANDIN_MEMORY", "0"),
            ("STANDIN_MEMORY", "16385"),
            ("STANDIN_MEMORY", "1G"),
            ("STANDIN_DEVICES", "0"),
            ("STANDIN_DEVICES", "9"),
            ("STANDIN_SEED", "-1"),
            ("STANDIN_SEED", ""),
        ] {
            let message = read(name, value).unwrap_err();
            assert!(
                message.starts_with(&format!("{name}={value}:")),
                "{message}"
            );
        }
    }
}
