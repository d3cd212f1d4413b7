//! Special registers that change while a thread runs.

use std::sync::OnceLock;
use std::time::Instant;

use crate::exec::Step;
use crate::fault::Stop;
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::Operand;

/// What such a register shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// `%clock64`: instructions that this worker has executed stand for cycles, so that a schedule repeats exactly.
    Cycles,
    /// `%globaltimer`: nanoseconds, growing from launch to launch.
    Nanoseconds,
}

/// Decodes `mov destination, %name`; `None` where the register never changes.
pub(super) fn decode(
    name: &str,
    destination: &Operand,
    decoder: &mut Decoder<'_>,
) -> Option<Result<Box<dyn Execute>, DecodeError>> {
    let half = |reading, shift| (reading, Some(shift));
    let (reading, shift) = match name {
        "clock" => half(Reading::Cycles, 0),
        "clock_hi" => half(Reading::Cycles, 32),
        "clock64" => (Reading::Cycles, None),
        "globaltimer_lo" => half(Reading::Nanoseconds, 0),
        "globaltimer_hi" => half(Reading::Nanoseconds, 32),
        "globaltimer" => (Reading::Nanoseconds, None),
        "is_explicit_cluster" => {
            let destination = decoder.predicate(destination);
            return Some(destination.map(|destination| {
                Box::new(IsExplicitCluster { destination }) as Box<dyn Execute>
            }));
        }
        _ => return None,
    };
    Some(match shift {
        Some(shift) => decoder.destination32(destination).map(|destination| {
            Box::new(ReadHalf {
                reading,
                shift,
                destination,
            }) as Box<dyn Execute>
        }),
        None => decoder.destination64(destination).map(|destination| {
            Box::new(ReadWhole {
                reading,
                destination,
            }) as Box<dyn Execute>
        }),
    })
}

impl Reading {
    fn now(self, step: &Step<'_>) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        match self {
            Reading::Cycles => step.counters.warp_instructions,
            Reading::Nanoseconds => START.get_or_init(Instant::now).elapsed().as_nanos() as u64,
        }
    }
}

#[derive(Debug)]
struct ReadHalf {
    reading: Reading,
    shift: u32,
    destination: u16,
}

impl Execute for ReadHalf {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let value = (self.reading.now(step) >> self.shift) as u32;
        step.warp
            .set_narrow(self.destination, step.active, &[value; 32]);
        Ok(Flow::Next)
    }
}

#[derive(Debug)]
struct ReadWhole {
    reading: Reading,
    destination: u16,
}

impl Execute for ReadWhole {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let value = self.reading.now(step);
        step.warp
            .set_wide(self.destination, step.active, &[value; 32]);
        Ok(Flow::Next)
    }
}

/// `%is_explicit_cluster`: whether the launch or the kernel names a cluster shape.
#[derive(Debug)]
struct IsExplicitCluster {
    destination: u16,
}

impl Execute for IsExplicitCluster {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let explicit = step
            .launch
            .dimensions
            .cluster
            .or(step.launch.kernel.cluster)
            .is_some();
        step.warp.set_predicate(
            self.destination,
            step.active,
            if explicit { u32::MAX } else { 0 },
        );
        Ok(Flow::Next)
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::Bench;

    #[test]
    fn time_goes_on() {
        let text = "mov.u64 %rd0, %clock64;\nmov.u64 %rd2, %globaltimer;\nmov.u32 %r0, %clock;\n\
                    mov.u64 %rd1, %clock64;\nmov.u64 %rd3, %globaltimer;\nmov.u32 %r1, %clock;\nmov.u32 %r2, %clock_hi;";
        let outcome = Bench::new(text).run();
        assert!(outcome.wide(0)[0] < outcome.wide(1)[0]);
        assert!(outcome.wide(2)[0] <= outcome.wide(3)[0]);
        assert!(outcome.narrow(0)[0] < outcome.narrow(1)[0]);
        assert_eq!(outcome.narrow(2)[0], 0);
    }

    #[test]
    fn a_plain_launch_has_no_explicit_cluster() {
        assert_eq!(
            Bench::new("mov.pred %p1, %is_explicit_cluster;")
                .predicate(1, 5)
                .run()
                .predicate(1),
            0
        );
    }
}
