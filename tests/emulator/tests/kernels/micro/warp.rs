//! Exchange between lanes, and branches that part them.

use super::Row;
use crate::harness::{Case, Inputs, equal};

const FILE: &str = "micro_warp";
const LANES: usize = 32;

/// Compares rows of one value a lane.
#[track_caller]
fn check(kernel: &'static str, x: &[u32], rows: &[Row<'_, u32>]) {
    let mut case = Case::new(FILE, kernel);
    case.input(x);
    let y = case.output::<u32>(rows.len() * LANES);
    let got = case.check().get(y);
    for (row, (name, expected)) in rows.iter().enumerate() {
        for lane in 0..LANES {
            assert_eq!(
                got[row * LANES + lane],
                expected(lane),
                "{name}, lane {lane}"
            );
        }
    }
}

#[test]
fn shuffles() {
    let x = Inputs::new(1).words(LANES);
    // A lane whose source is outside of its segment keeps its own value.
    let within = |lane: usize, source: usize, width: usize| {
        x[if source / width == lane / width {
            source
        } else {
            lane
        }]
    };
    let rows: &[Row<'_, u32>] = &[
        ("idx", &|_| x[5]),
        ("idx by lane", &|lane| x[(lane * 7 + 3) % LANES]),
        ("idx of 8", &|lane| x[lane / 8 * 8 + (lane + 2) % 8]),
        ("up", &|lane| if lane < 3 { x[lane] } else { x[lane - 3] }),
        ("up of 4", &|lane| {
            if lane % 4 == 0 { x[lane] } else { x[lane - 1] }
        }),
        ("down", &|lane| {
            if lane + 6 < LANES {
                x[lane + 6]
            } else {
                x[lane]
            }
        }),
        ("down of 16", &|lane| within(lane, lane + 5, 16)),
        ("xor", &|lane| x[lane ^ 9]),
        ("halves", &|lane| if lane < 16 { x[15] } else { x[16] }),
        ("64 bits", &|lane| {
            ((u64::from(x[lane ^ 31]) << 32 | (lane ^ 31) as u64) >> 16) as u32
        }),
    ];
    check("shuffles", &x, rows);
}

#[test]
fn votes() {
    let x = Inputs::new(2).below(LANES, 90);
    let ballot = |holds: &dyn Fn(u32) -> bool| {
        (0..LANES)
            .filter(|&lane| holds(x[lane]))
            .fold(0, |mask, lane| mask | 1 << lane)
    };
    let rows: &[Row<'_, u32>] = &[
        ("ballot", &|_| ballot(&|value| value % 3 == 0)),
        ("any", &|_| u32::from(x.contains(&1))),
        ("all", &|_| 1),
        ("match any", &|lane| {
            ballot(&|value| value % 5 == x[lane] % 5)
        }),
        ("match all", &|_| u32::MAX),
        ("match all, predicate", &|_| 1),
        ("sum", &|_| x.iter().sum()),
        ("least", &|_| *x.iter().min().unwrap()),
        ("largest, signed", &|_| {
            (*x.iter().max().unwrap() as i32 - 50) as u32
        }),
        ("xor", &|_| x.iter().fold(0, |all, value| all ^ value)),
        ("parted", &|lane| ballot(&|value| value % 2 == x[lane] % 2)),
    ];
    check("votes", &x, rows);
}

/// What a thread alone would compute.
fn alone(x: u32) -> Option<u32> {
    let (mut value, mut steps) = (x, 0_u32);
    while value != 1 && steps < 200 {
        value = if value % 2 == 0 {
            value / 2
        } else {
            value.wrapping_mul(3).wrapping_add(1)
        };
        steps += 1;
    }
    Some(match x % 7 {
        0 => steps * 3,
        1 => steps ^ 0x55,
        2 if steps > 50 => return None,
        2 => steps + 1000,
        3 => (0..x % 4).fold(steps, |steps, j| steps.wrapping_mul(5).wrapping_add(j)),
        4 => !steps,
        5 => steps.reverse_bits(),
        _ => steps.wrapping_sub(7),
    })
}

#[test]
fn divergence() {
    const UNTOUCHED: u32 = 0xabcd;
    let x: Vec<u32> = Inputs::new(3)
        .below(300, 5000)
        .into_iter()
        .map(|value| value + 1)
        .collect();
    let mut case = Case::new(FILE, "divergence").block(128).grid(3, 1);
    case.input(&x);
    let y = case.input(&vec![UNTOUCHED; x.len()]);
    case.value(x.len() as i32);
    let run = case.check();
    let expected: Vec<u32> = x.iter().map(|&x| alone(x).unwrap_or(UNTOUCHED)).collect();
    equal(&run.get(y), &expected).unwrap();
    assert!(run.report.counters.divergent_instructions > 0);
}

#[test]
fn places() {
    let x: Vec<i32> = (0..96).map(|i| i * 7 % 5 - 2).collect();
    let wanted: Vec<i32> = x.iter().copied().filter(|&x| x > 0).collect();
    let mut case = Case::new(FILE, "places").block(96);
    case.input(&x);
    let count = case.input(&[0_u32]);
    let y = case.output::<i32>(wanted.len());
    for seed in crate::harness::SEEDS {
        let run = case.run(seed);
        assert!(run.report.faults.is_empty(), "{}", run.faults());
        assert_eq!(run.get(count), [wanted.len() as u32]);
        let mut got = run.get(y);
        got.sort_unstable();
        let mut expected = wanted.clone();
        expected.sort_unstable();
        equal(&got, &expected).unwrap();
    }
}
