//! The parts of an operand that hold no others.

use super::Operand;

impl Operand {
    /// Visits the parts that hold no others, in order; the operand itself where it is one.
    pub(crate) fn leaves<'o>(&'o self, visit: &mut dyn FnMut(&'o Operand)) {
        match self {
            Operand::Vector(members) => members.iter().for_each(|member| member.leaves(visit)),
            Operand::Memory(base, _) => base.leaves(visit),
            Operand::Tensor(base, coordinates) => {
                base.leaves(visit);
                coordinates.iter().for_each(|one| one.leaves(visit));
            }
            Operand::Pair(first, second) => {
                first.leaves(visit);
                second.leaves(visit);
            }
            leaf => visit(leaf),
        }
    }

    /// The same to change them.
    pub(crate) fn leaves_mut(&mut self, visit: &mut dyn FnMut(&mut Operand)) {
        match self {
            Operand::Vector(members) => members.iter_mut().for_each(|one| one.leaves_mut(visit)),
            Operand::Memory(base, _) => base.leaves_mut(visit),
            Operand::Tensor(base, coordinates) => {
                base.leaves_mut(visit);
                coordinates.iter_mut().for_each(|one| one.leaves_mut(visit));
            }
            Operand::Pair(first, second) => {
                first.leaves_mut(visit);
                second.leaves_mut(visit);
            }
            leaf => visit(leaf),
        }
    }
}
