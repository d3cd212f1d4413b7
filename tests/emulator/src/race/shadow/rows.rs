//! Whole requests: a row by each of several lanes.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use super::{Access, Conflict, Shadow, note_reader, written_by};
use crate::lanes::lanes;
use crate::race::Strength;
use crate::race::cache::{Cache, History};

/// A history that no granule has: its events are beyond the log.
const UNKNOWN: History = History(u64::MAX);

impl Shadow {
    /// Reads of a row of `bytes` bytes (a power of two, aligned to it) by each lane of `active`, at the lane's `offset`; as
    /// `access`, by the lane itself unless `collective`. Gives the first race found, with its lane.
    #[inline]
    pub fn read_rows(
        &self,
        active: u32,
        bytes: usize,
        offset: impl Fn(usize) -> usize,
        collective: bool,
        access: Access<'_>,
        cache: &mut Cache,
    ) -> Option<(usize, Conflict)> {
        let first = |lane| offset(lane) >> self.shift;
        match bytes >> self.shift {
            0 | 1 => self.read_rows_of::<1>(active, first, collective, access, cache),
            2 => self.read_rows_of::<2>(active, first, collective, access, cache),
            4 => self.read_rows_of::<4>(active, first, collective, access, cache),
            8 => self.read_rows_of::<8>(active, first, collective, access, cache),
            16 => self.read_rows_of::<16>(active, first, collective, access, cache),
            _ => self.read_rows_of::<32>(active, first, collective, access, cache),
        }
    }

    /// The same for rows of `G` granules.
    #[inline]
    fn read_rows_of<const G: usize>(
        &self,
        active: u32,
        first: impl Fn(usize) -> usize,
        collective: bool,
        mut access: Access<'_>,
        cache: &mut Cache,
    ) -> Option<(usize, Conflict)> {
        let mut found = None;
        let any_strong = access.strength == Strength::Plain && self.any_strong.load(Relaxed);
        // Rows of one request mostly share their history. No granule has this one.
        let (mut from, mut to) = (UNKNOWN, UNKNOWN);
        for lane in lanes(active) {
            if !collective {
                access.lane = lane as u8;
            }
            let first = first(lane);
            let (histories, readers) = self.row::<G>(first);
            let history = History(histories[0].load(Relaxed));
            if history != from {
                let known = if any_strong {
                    None
                } else {
                    cache.after_read(history, access.event)
                };
                (from, to) = known.map_or((UNKNOWN, UNKNOWN), |after| (history, after));
            }
            if histories
                .iter()
                .all(|history| history.load(Relaxed) == from.0)
            {
                readers
                    .iter()
                    .for_each(|reader| note_reader(reader, access.lane, to != from));
                if to != from {
                    histories
                        .iter()
                        .for_each(|history| history.store(to.0, Relaxed));
                }
            } else {
                let conflict = self.read_each(first..first + G, &access, cache);
                found = found.or(conflict.map(|conflict| (lane, conflict)));
                from = UNKNOWN;
            }
        }
        found
    }

    /// Writes of a row by each lane of `active`: the counterpart of [`Shadow::read_rows`].
    #[inline]
    pub fn write_rows(
        &self,
        active: u32,
        bytes: usize,
        offset: impl Fn(usize) -> usize,
        collective: bool,
        access: Access<'_>,
        cache: &mut Cache,
    ) -> Option<(usize, Conflict)> {
        if access.strength == Strength::Strong {
            return self.strong_rows(active, bytes, offset, access, cache);
        }
        let first = |lane| offset(lane) >> self.shift;
        match bytes >> self.shift {
            0 | 1 => self.write_rows_of::<1>(active, first, collective, access, cache),
            2 => self.write_rows_of::<2>(active, first, collective, access, cache),
            4 => self.write_rows_of::<4>(active, first, collective, access, cache),
            8 => self.write_rows_of::<8>(active, first, collective, access, cache),
            16 => self.write_rows_of::<16>(active, first, collective, access, cache),
            _ => self.write_rows_of::<32>(active, first, collective, access, cache),
        }
    }

    /// Plain writes of rows of `G` granules.
    #[inline]
    fn write_rows_of<const G: usize>(
        &self,
        active: u32,
        first: impl Fn(usize) -> usize,
        collective: bool,
        mut access: Access<'_>,
        cache: &mut Cache,
    ) -> Option<(usize, Conflict)> {
        let mut found = None;
        let any_strong = self.any_strong.load(Relaxed);
        let mut writable = UNKNOWN;
        let next = History::written_by(access.event);
        for lane in lanes(active) {
            if !collective {
                access.lane = lane as u8;
            }
            let first = first(lane);
            let (histories, writers) = self.row::<G>(first);
            let history = History(histories[0].load(Relaxed));
            if history != writable {
                writable = if !any_strong && cache.may_write(history) {
                    history
                } else {
                    UNKNOWN
                };
            }
            if histories
                .iter()
                .all(|history| history.load(Relaxed) == writable.0)
            {
                histories
                    .iter()
                    .for_each(|history| history.store(next.0, Relaxed));
                writers
                    .iter()
                    .for_each(|writer| writer.store(written_by(access.lane), Relaxed));
            } else {
                let conflict = self.write_each(first..first + G, &access, cache);
                found = found.or(conflict.map(|conflict| (lane, conflict)));
                writable = UNKNOWN;
            }
        }
        found
    }

    /// The granules of a row.
    #[inline]
    fn row<const G: usize>(&self, first: usize) -> (&[AtomicU64; G], &[AtomicU16; G]) {
        let histories = self.histories[first..].first_chunk();
        let lanes = self.lanes[first..].first_chunk();
        histories
            .zip(lanes)
            .expect("the row was checked to be inside")
    }

    /// Strong writes of a row by each lane of `active`.
    fn strong_rows(
        &self,
        active: u32,
        bytes: usize,
        offset: impl Fn(usize) -> usize,
        mut access: Access<'_>,
        cache: &mut Cache,
    ) -> Option<(usize, Conflict)> {
        let mut found = None;
        for lane in lanes(active) {
            access.lane = lane as u8;
            let conflict = self.strong_write(offset(lane)..offset(lane) + bytes, &access, cache);
            found = found.or(conflict.map(|conflict| (lane, conflict)));
        }
        found
    }
}
