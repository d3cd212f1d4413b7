//! What happened: launches and faults, kept for tests, printed for people, appended to the report file for tools.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use super::error::Failure;
use super::record::{FaultRecord, FaultText, LaunchRecord};
use crate::fault::Fault;

/// Launches and faults kept: a program that runs for hours does not grow without end.
const KEPT: usize = 1 << 16;

/// The last [`KEPT`] of a sequence; numbers count from the first ever.
#[derive(Debug)]
pub struct Recent<T> {
    forgotten: u64,
    kept: VecDeque<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Recent {
            forgotten: 0,
            kept: VecDeque::new(),
        }
    }
}

impl<T> Recent<T> {
    fn push(&mut self, entry: T) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(entry);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.forgotten + self.kept.len() as u64
    }

    /// One of them, if it is still kept.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.kept
            .get(usize::try_from(number.checked_sub(self.forgotten)?).ok()?)
    }
}

/// A fault with its texts.
#[derive(Debug)]
pub struct FaultEntry {
    /// Its numbers.
    pub record: FaultRecord,
    message: String,
    kernel: String,
    source: String,
    instruction: String,
    report: String,
}

impl FaultEntry {
    /// One of its texts.
    pub fn text(&self, which: FaultText) -> &str {
        match which {
            FaultText::Message => &self.message,
            FaultText::Kernel => &self.kernel,
            FaultText::Source => &self.source,
            FaultText::Instruction => &self.instruction,
            FaultText::Report => &self.report,
        }
    }

    /// The line of the report file.
    fn json(&self) -> String {
        let FaultRecord {
            kind,
            code,
            block,
            thread,
            ptx_line,
            device,
            seed,
            ..
        } = self.record;
        let mut line = format!("{{\"kind\":{kind},\"code\":{code}");
        let texts = [
            ("message", &self.message),
            ("kernel", &self.kernel),
            ("source", &self.source),
            ("instruction", &self.instruction),
        ];
        for (name, text) in texts {
            let _ = write!(line, ",\"{name}\":");
            write_json_string(&mut line, text);
        }
        let _ = write!(
            line,
            ",\"ptx_line\":{ptx_line},\"block\":{block:?},\"thread\":{thread:?},\"device\":{device},\"seed\":{seed}}}"
        );
        line
    }
}

fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The journal.
#[derive(Debug, Default)]
pub struct Journal {
    /// Launches executed.
    pub launches: Recent<(String, LaunchRecord)>,
    /// Faults found.
    pub faults: Recent<FaultEntry>,
    /// Where reports are appended.
    pub file: Option<PathBuf>,
}

impl Journal {
    /// Keeps a launch.
    pub fn launched(&mut self, kernel: &str, record: LaunchRecord) {
        self.launches.push((kernel.to_owned(), record));
    }

    /// Reports a fault of a kernel.
    pub fn fault(&mut self, fault: &Fault, device: u32, host_thread: u64) {
        self.keep(FaultEntry {
            record: FaultRecord {
                kind: fault.kind as u32,
                code: fault.kind.cuda_error(),
                block: fault.block,
                thread: fault.thread,
                ptx_line: fault.ptx_line,
                device,
                seed: fault.seed,
                host_thread,
            },
            message: fault.message.clone(),
            kernel: fault.kernel.clone(),
            source: fault.source.clone(),
            instruction: fault.instruction.clone(),
            report: fault.to_string(),
        });
    }

    /// Reports that a call was refused, unless the code is an answer and no complaint.
    pub fn refused(&mut self, function: &str, failure: &Failure, host_thread: u64) {
        let Some(message) = &failure.message else {
            return;
        };
        self.keep(FaultEntry {
            record: FaultRecord {
                code: failure.code as i32,
                host_thread,
                ..FaultRecord::default()
            },
            message: message.clone(),
            kernel: function.to_owned(),
            source: String::new(),
            instruction: String::new(),
            report: format!("{function} gives {}: {message}", failure.code.name()),
        });
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.launches = Recent::default();
        self.faults = Recent::default();
    }

    fn keep(&mut self, entry: FaultEntry) {
        eprintln!("stand-in: {}", entry.report);
        if let Some(path) = &self.file {
            let written = OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| writeln!(file, "{}", entry.json()));
            if let Err(error) = written {
                eprintln!("stand-in: STANDIN_REPORT={}: {error}", path.display());
            }
        }
        self.faults.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::{Code, misuse};
    use super::*;

    #[test]
    fn old_entries_make_room_and_numbers_stay() {
        let mut recent = Recent::default();
        for number in 0..KEPT as u64 + 3 {
            recent.push(number);
        }
        assert_eq!(recent.count(), KEPT as u64 + 3);
        assert_eq!(
            (recent.get(2), recent.get(3), recent.get(KEPT as u64 + 3)),
            (None, Some(&3), None)
        );
    }

    #[test]
    fn a_refusal_is_kept_with_function_and_code() {
        let mut journal = Journal::default();
        journal.refused(
            "cuMemFree_v2",
            &misuse(Code::InvalidValue, "a \"quoted\"\n\tline"),
            5,
        );
        journal.refused("cuEventQuery", &Code::NotReady.into(), 5);
        assert_eq!(journal.faults.count(), 1);
        let entry = journal.faults.get(0).unwrap();
        assert_eq!(
            (
                entry.record.kind,
                entry.record.code,
                entry.record.host_thread
            ),
            (0, 1, 5)
        );
        assert_eq!(entry.text(FaultText::Kernel), "cuMemFree_v2");
        assert_eq!(
            entry.json(),
            "{\"kind\":0,\"code\":1,\"message\":\"a \\\"quoted\\\"\\n\\u0009line\",\"kernel\":\"cuMemFree_v2\",\"source\":\"\",\
             \"instruction\":\"\",\"ptx_line\":0,\"block\":[0, 0, 0],\"thread\":[0, 0, 0],\"device\":0,\"seed\":0}"
        );
    }
}
