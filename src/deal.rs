//! Items dealt out to several threads, and taken back in order.

#![forbid(unsafe_code)]

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Deals items out to `hands` threads that call `work`, and gives `take` what comes of them in the order of the items.
///
/// ```text
///          item 0 -> hand 0 -> result 0
/// feed --> item 1 -> hand 1 -> result 1 --> take: 0, 1, 2, ...
///          item 2 -> hand 0 -> ...
/// ```
///
/// Whichever hand is free gets the next item. `feed` calls its argument for every item, and ends when that returns false:
/// nobody wants more. `take` tells whether it does. At most `hands` items wait for it.
pub(crate) fn deal<Item: Send, Done: Send>(
    hands: usize,
    feed: impl FnOnce(&mut dyn FnMut(Item) -> bool) + Send,
    work: impl Fn(Item) -> Done + Sync,
    mut take: impl FnMut(Done) -> bool,
) {
    if hands == 1 {
        return feed(&mut |item| take(work(item)));
    }
    // Each item travels with the sender of its result, whose receiver waits in the order of the items.
    let (item_sender, items) = sync_channel::<(Item, SyncSender<Done>)>(0);
    let (result_sender, results) = sync_channel(hands);
    // Owned by the hands alone: when the last one has panicked, nobody can be handed anything.
    let items = Arc::new(Mutex::new(items));
    let work = &work;
    thread::scope(|scope| {
        for items in vec![items; hands] {
            let next = move || items.lock().unwrap_or_else(PoisonError::into_inner).recv();
            scope.spawn(move || {
                while let Ok((item, done)) = next() {
                    // Nobody listens when the run is over.
                    let _ = done.send(work(item));
                }
            });
        }
        scope.spawn(move || {
            feed(&mut |item| {
                let (done, result) = sync_channel(1);
                item_sender.send((item, done)).is_ok() && result_sender.send(result).is_ok()
            });
        });
        // A hand that panicked sends nothing; the scope passes its panic on.
        for result in results {
            if !result.recv().is_ok_and(&mut take) {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Deals the numbers below `count`; the smaller, the longer they take.
    fn squares(hands: usize, count: u64, mut take: impl FnMut(u64) -> bool) {
        deal(
            hands,
            |give| {
                (0..count).all(give);
            },
            |number: u64| {
                thread::sleep(Duration::from_micros(200 * (count - number)));
                number * number
            },
            &mut take,
        );
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for hands in 1..5 {
            let mut taken = Vec::new();
            squares(hands, 20, |square| {
                taken.push(square);
                true
            });
            assert!(taken.into_iter().eq((0..20).map(|number| number * number)));
        }
    }

    #[test]
    fn nothing_more_is_dealt_when_nobody_wants_more() {
        for hands in 1..5 {
            let (dealt, mut taken) = (AtomicUsize::new(0), 0);
            deal(
                hands,
                |give| {
                    (0..1000).all(|number: usize| {
                        dealt.fetch_add(1, Ordering::Relaxed);
                        give(number)
                    });
                },
                |number| number,
                |number| {
                    assert_eq!(number, taken);
                    taken += 1;
                    taken < 3
                },
            );
            assert_eq!(taken, 3);
            // Those taken, those that wait, one in each hand, and one on its way.
            let dealt = dealt.into_inner();
            assert!(dealt <= 3 + 2 * hands + 1, "{dealt} with {hands} hands");
        }
    }

    #[test]
    fn all_hands_work_at_once() {
        let together = std::sync::Barrier::new(3);
        let mut taken = 0;
        // Were one hand missing, the others would wait for ever.
        deal(
            3,
            |give| {
                (0..6).all(give);
            },
            |_: u32| together.wait(),
            |_| {
                taken += 1;
                true
            },
        );
        assert_eq!(taken, 6);
    }

    /// However many of them there are: the others neither wait for ever nor go on.
    #[test]
    fn panics_of_hands_are_passed_on() {
        for good in [0, 3] {
            let dealt = thread::spawn(move || {
                deal(
                    2,
                    |give| {
                        (0..1000).all(give);
                    },
                    |number: u32| assert!(number < good),
                    |()| true,
                );
            });
            let panic = dealt.join().unwrap_err();
            let text = panic.downcast_ref::<&str>();
            assert_eq!(text, Some(&"a scoped thread panicked"));
        }
    }
}
