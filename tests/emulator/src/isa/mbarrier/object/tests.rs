use super::*;

const MADE: Use = Use {
    agent: 0,
    tick: 1,
    lane: 0,
    pc: 0,
};

fn barrier(expected: u32) -> Mbarrier {
    Mbarrier::new(9, 0, expected, MADE).unwrap()
}

#[test]
fn a_phase_needs_all_arrivals_and_all_bytes() {
    let mut object = barrier(2);
    object.arrive(1).unwrap();
    object.expect_bytes(64).unwrap();
    object.arrive(1).unwrap();
    assert_eq!((object.phase(), object.pending()), (0, 0));
    object.expect_bytes(-48).unwrap();
    assert_eq!(object.phase(), 0);
    object.expect_bytes(-16).unwrap();
    assert_eq!((object.phase(), object.pending()), (1, 2));
}

#[test]
fn bytes_may_come_before_they_are_expected() {
    let mut object = barrier(1);
    object.expect_bytes(-64).unwrap();
    object.expect_bytes(64).unwrap();
    assert_eq!(object.phase(), 0, "the arrival is missing");
    object.arrive(1).unwrap();
    assert_eq!(object.phase(), 1);
}

#[test]
fn counts_are_checked() {
    assert_eq!(Mbarrier::new(9, 0, 0, MADE).err(), Some(Misuse::Count(0)));
    assert_eq!(
        Mbarrier::new(9, 0, 1 << 20, MADE).err(),
        Some(Misuse::Count(1 << 20))
    );
    let mut object = barrier(3);
    assert_eq!(object.arrive(0), Err(Misuse::Count(0)));
    object.arrive(2).unwrap();
    let over = Misuse::OverArrival {
        count: 2,
        pending: 1,
        expected: 3,
        phase: 0,
    };
    assert_eq!(object.arrive(2), Err(over));
    assert_eq!(
        object.arrive_without_completing(1),
        Err(Misuse::Completes(0))
    );
    object.expect_bytes(TRANSACTIONS_MAX).unwrap();
    assert_eq!(object.expect_bytes(1), Err(Misuse::Transactions(1 << 20)));
    object.arrive_without_completing(1).unwrap();
}

#[test]
fn dropped_threads_are_missing_from_the_next_phase_on() {
    let mut object = barrier(2);
    object.drop_expected(1).unwrap();
    object.arrive(1).unwrap();
    assert_eq!(object.phase(), 0);
    object.arrive(1).unwrap();
    assert_eq!((object.phase(), object.pending()), (1, 1));
    object.arrive(1).unwrap();
    assert_eq!(object.phase(), 2);
    assert!(object.drop_expected(2).is_err());
}

#[test]
fn arrivals_of_copies_are_waited_for() {
    let mut object = barrier(1);
    object.expect_arrival().unwrap();
    object.arrive(1).unwrap();
    assert_eq!(object.phase(), 0);
    object.arrive(1).unwrap();
    assert_eq!((object.phase(), object.pending()), (1, 1));
    let mut full = barrier(COUNT_MAX);
    assert_eq!(full.expect_arrival(), Err(Misuse::Pending(1 << 20)));
}

#[test]
fn a_phase_passes_on_what_was_released_in_it_and_no_more() {
    let mut object = barrier(1);
    let mut clock = Clock::default();
    clock.advance(3, 7);
    object.release(&clock, &Clock::default());
    object.arrive(1).unwrap();
    assert_eq!(object.completed().clock.get(3), 7);
    assert_eq!(object.completed().proxy_clock.get(3), 0);
    object.arrive(1).unwrap();
    assert_eq!(object.completed().clock.get(3), 0);
}

#[test]
fn who_neither_acquired_nor_saw_the_last_phase_lags() {
    let mut object = barrier(1);
    let mut acquired = Clock::default();
    assert!(
        object.knows_last(4, &Clock::default()),
        "there was no phase before the first"
    );
    object.arrive(1).unwrap();
    assert!(!object.knows_last(4, &acquired));
    acquired.join(&object.completed().clock);
    assert!(object.knows_last(4, &acquired));
    object.saw(5);
    assert!(object.knows_last(5, &Clock::default()));
    object.arrive(1).unwrap();
    assert!(!object.knows_last(4, &acquired) && !object.knows_last(5, &Clock::default()));
}
