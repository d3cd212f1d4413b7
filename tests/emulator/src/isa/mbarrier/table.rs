//! The mbarrier objects of a block, by their place in its shared memory.

use super::object::{Mbarrier, Misuse, Use};
use crate::race::Agent;

/// The mbarrier objects of a block.
#[derive(Debug, Default)]
pub struct Mbarriers {
    /// Sorted by offset.
    slots: Vec<Slot>,
}

/// A place at which there is or was an object. Ended objects stay, for a new one at their place goes on with their agent.
#[derive(Debug)]
struct Slot {
    offset: usize,
    live: bool,
    object: Mbarrier,
}

impl Mbarriers {
    /// The live object at an offset.
    pub fn get_mut(&mut self, offset: usize) -> Option<&mut Mbarrier> {
        let at = self.find(offset).ok()?;
        let slot = &mut self.slots[at];
        slot.live.then_some(&mut slot.object)
    }

    /// Makes an object at an offset, in place of any that is there. `new_agent` gives an agent for a place that had none.
    ///
    /// # Errors
    /// When the count is out of range.
    pub fn insert(
        &mut self,
        offset: usize,
        expected: u32,
        made: Use,
        new_agent: impl FnOnce() -> Agent,
    ) -> Result<(), Misuse> {
        match self.find(offset) {
            Ok(at) => {
                let slot = &mut self.slots[at];
                slot.object =
                    Mbarrier::new(slot.object.agent(), slot.object.tick(), expected, made)?;
                slot.live = true;
            }
            Err(at) => {
                let object = Mbarrier::new(new_agent(), 0, expected, made)?;
                self.slots.insert(
                    at,
                    Slot {
                        offset,
                        live: true,
                        object,
                    },
                );
            }
        }
        Ok(())
    }

    /// Ends the object at an offset.
    pub fn end(&mut self, offset: usize) {
        if let Ok(at) = self.find(offset) {
            self.slots[at].live = false;
        }
    }

    fn find(&self, offset: usize) -> Result<usize, usize> {
        self.slots.binary_search_by_key(&offset, |slot| slot.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: Use = Use {
        agent: 0,
        tick: 1,
        lane: 0,
        pc: 0,
    };

    #[test]
    fn a_new_object_at_an_old_place_goes_on_with_its_agent() {
        let mut objects = Mbarriers::default();
        objects.insert(64, 1, MADE, || 7).unwrap();
        objects.insert(8, 2, MADE, || 8).unwrap();
        objects.get_mut(64).unwrap().advance();
        objects.end(64);
        assert!(
            objects.get_mut(64).is_none()
                && objects.get_mut(8).is_some()
                && objects.get_mut(16).is_none()
        );
        objects
            .insert(64, 3, MADE, || unreachable!("the place has an agent"))
            .unwrap();
        let object = objects.get_mut(64).unwrap();
        assert_eq!((object.agent(), object.tick(), object.pending()), (7, 1, 3));
    }
}
