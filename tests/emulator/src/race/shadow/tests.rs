use super::*;

/// Two agents on a shadow of four-byte granules.
struct Scene {
    shadow: Shadow,
    log: EventLog,
    readers: Readers,
    clocks: [Clock; 2],
    caches: [Cache; 2],
}

impl Scene {
    fn new() -> Self {
        let mut clocks = [Clock::default(), Clock::default()];
        clocks
            .iter_mut()
            .zip(0..)
            .for_each(|(clock, agent)| clock.advance(agent, 1));
        Scene {
            shadow: Shadow::new(64, 4),
            log: EventLog::default(),
            readers: Readers::default(),
            clocks,
            caches: Default::default(),
        }
    }

    fn access(
        &mut self,
        agent: u16,
        lane: u8,
        strength: Strength,
        write: bool,
    ) -> Option<ConflictKind> {
        let clock = &self.clocks[agent as usize];
        let tick = clock.get(agent);
        let event = self.log.record(Event {
            cluster: 0,
            agent,
            clock: tick,
            pc: 0,
            strength,
        });
        let (log, readers) = (&self.log, &self.readers);
        let access = Access {
            event,
            agent,
            tick,
            landed: Landed::NONE,
            cluster: 0,
            clock,
            lane,
            strength,
            log,
            readers,
        };
        let cache = &mut self.caches[agent as usize];
        let found = match (write, strength) {
            (false, _) => self.shadow.read(8..16, &access, cache),
            (true, Strength::Plain) => self.shadow.write(8..16, &access, cache),
            (true, Strength::Strong) => self.shadow.strong_write(8..16, &access, cache),
        };
        found.map(|conflict| conflict.kind)
    }

    fn read(&mut self, agent: u16, lane: u8) -> Option<ConflictKind> {
        self.access(agent, lane, Strength::Plain, false)
    }

    fn write(&mut self, agent: u16, lane: u8) -> Option<ConflictKind> {
        self.access(agent, lane, Strength::Plain, true)
    }

    /// Both agents meet at a barrier.
    fn meet(&mut self) {
        let mut all = self.clocks[0].clone();
        all.join(&self.clocks[1]);
        for (agent, clock) in self.clocks.iter_mut().enumerate() {
            clock.join(&all);
            clock.advance(agent as u16, all.get(agent as u16) + 1);
        }
    }
}

#[test]
fn a_meeting_orders_what_came_before_it() {
    let mut scene = Scene::new();
    assert_eq!(scene.write(0, 3), None);
    assert_eq!(scene.read(1, 3), Some(ConflictKind::ReadAfterWrite));
    scene.meet();
    assert_eq!(scene.read(1, 3), None);
    assert_eq!(scene.read(0, 3), None);
    assert_eq!(scene.write(0, 3), Some(ConflictKind::WriteAfterRead));
    scene.meet();
    assert_eq!(scene.write(0, 3), None);
    assert_eq!(scene.write(1, 3), Some(ConflictKind::WriteAfterWrite));
}

#[test]
fn one_reader_among_several_is_enough() {
    let mut scene = Scene::new();
    scene.read(0, 1);
    scene.meet();
    scene.read(0, 1);
    scene.read(1, 1);
    assert_eq!(scene.write(0, 1), Some(ConflictKind::WriteAfterRead));
}

#[test]
fn lanes_of_a_warp_are_told_apart_until_it_synchronises() {
    let mut scene = Scene::new();
    scene.write(0, 1);
    assert_eq!(scene.read(0, 1), None);
    assert_eq!(scene.read(0, 2), Some(ConflictKind::ReadAfterWrite));
    assert_eq!(scene.read(0, COLLECTIVE), None);
    scene.meet();
    assert_eq!(scene.read(0, 2), None);
    assert_eq!(scene.write(0, 2), None);
    scene.meet();
    scene.read(0, 1);
    scene.read(0, 2);
    assert_eq!(scene.write(0, 2), Some(ConflictKind::WriteAfterRead));
}

#[test]
fn what_the_cache_knows_is_no_excuse_for_what_is_new() {
    let mut scene = Scene::new();
    scene.write(0, 1);
    scene.meet();
    scene.read(1, 1);
    scene.read(1, 1);
    scene.meet();
    scene.write(0, 1);
    assert_eq!(scene.read(1, 1), Some(ConflictKind::ReadAfterWrite));
    scene.meet();
    scene.write(1, 1);
    scene.meet();
    scene.read(0, 1);
    assert_eq!(scene.write(1, 1), Some(ConflictKind::WriteAfterRead));
}

#[test]
fn strong_accesses_race_with_plain_ones_only() {
    let mut scene = Scene::new();
    assert_eq!(scene.access(0, 0, Strength::Strong, true), None);
    assert_eq!(scene.access(1, 0, Strength::Strong, true), None);
    assert_eq!(scene.access(1, 0, Strength::Strong, false), None);
    assert_eq!(scene.read(0, 0), Some(ConflictKind::ReadAfterWrite));
    // Its own atomic came last: it has seen the other.
    assert_eq!(scene.read(1, 0), None);
    scene.meet();
    assert_eq!(scene.read(1, 0), None);
    assert_eq!(
        scene.access(0, 0, Strength::Strong, true),
        Some(ConflictKind::WriteAfterRead)
    );
}

#[test]
fn a_refined_shadow_knows_what_the_coarse_one_knew() {
    let mut scene = Scene::new();
    scene.write(0, 3);
    scene.access(0, 3, Strength::Strong, true);
    scene.shadow = scene.shadow.refined(64, 2);
    assert_eq!(scene.shadow.granule(), 2);
    assert_eq!(scene.read(1, 3), Some(ConflictKind::ReadAfterWrite));
    assert_eq!(
        scene.access(1, 3, Strength::Strong, false),
        Some(ConflictKind::ReadAfterWrite)
    );
    scene.meet();
    assert_eq!(scene.read(1, 3), None);
}

#[test]
fn the_last_atomic_is_the_last_whoever_came_before() {
    let mut scene = Scene::new();
    for agent in [0, 1, 0] {
        assert_eq!(scene.access(agent, 0, Strength::Strong, true), None);
    }
    assert_eq!(scene.write(0, 0), None);
}

#[test]
fn atomics_tell_the_lanes_of_a_warp_apart() {
    let mut scene = Scene::new();
    scene.access(0, 1, Strength::Strong, true);
    assert_eq!(scene.read(0, 1), None);
    assert_eq!(scene.read(0, 2), Some(ConflictKind::ReadAfterWrite));
    scene.meet();
    assert_eq!(scene.read(0, 2), None);
    assert_eq!(
        scene.access(0, 1, Strength::Strong, true),
        Some(ConflictKind::WriteAfterRead)
    );
}
