//! Where arguments and results are kept: in registers where every access is to the same whole values, else in memory.
//!
//! In registers a value that was never written may be passed on, as it may be moved: structures with holes are. Such a value
//! is found where it matters. Memory is `.local` memory that does not count as spilled: `ld.param::func`, `st.param::func`.

use std::collections::{BTreeMap, HashMap};

use super::super::{Class, Entry, Instruction, Operand, Register, variable};
use super::{fresh, kind, relabel};

/// Where a variable is.
#[derive(Debug)]
enum Place {
    /// A register for each offset at which something is kept.
    Registers(BTreeMap<i64, Register>),
    Memory,
}

/// Gives every argument and result of the kernel's calls a place.
pub(super) fn place(entry: &mut Entry) {
    let uses = uses(entry);
    let mut places = HashMap::new();
    for variable in std::mem::take(&mut entry.arguments) {
        let place = uses[&variable.name].place(entry);
        if let Place::Memory = place {
            entry.local.push(variable.clone());
        }
        places.insert(variable.name, place);
    }
    let old = std::mem::take(&mut entry.instructions);
    let mut moved = Vec::with_capacity(old.len() + 1);
    for mut instruction in old {
        moved.push(entry.instructions.len() as u32);
        let access = Access::of(&instruction);
        match access.as_ref().and_then(|access| places.get(access.name)) {
            Some(Place::Registers(registers)) => {
                let moves = access.iter().flat_map(|access| access.moves(registers));
                let moves = moves.map(|(opcode, operands)| Instruction {
                    opcode,
                    operands,
                    ..instruction.clone()
                });
                entry.instructions.extend(moves);
                continue;
            }
            Some(Place::Memory) => instruction.opcode[1] = "param::func".to_owned(),
            None => {}
        }
        entry.instructions.push(instruction);
    }
    moved.push(entry.instructions.len() as u32);
    for instruction in &mut entry.instructions {
        relabel(instruction, &moved);
    }
}

/// How a variable is used.
#[derive(Debug, Default)]
struct Uses {
    /// The largest access at each offset.
    cells: BTreeMap<i64, u64>,
    loads: Vec<(i64, u64)>,
    stores: Vec<(i64, u64)>,
    /// Its address is taken, or an access is of no known form.
    escapes: bool,
}

fn uses(entry: &Entry) -> HashMap<String, Uses> {
    let mut uses: HashMap<String, Uses> = (entry.arguments.iter())
        .map(|variable| (variable.name.clone(), Uses::default()))
        .collect();
    for instruction in &entry.instructions {
        let access = Access::of(instruction);
        if let Some(access) = &access
            && let Some(uses) = uses.get_mut(access.name)
        {
            for (offset, _) in access.elements() {
                let largest = uses.cells.entry(offset).or_default();
                *largest = access.bytes.max(*largest);
                match access.stores {
                    true => uses.stores.push((offset, access.bytes)),
                    false => uses.loads.push((offset, access.bytes)),
                }
            }
        }
        let address = access.map(|access| access.address);
        for operand in &instruction.operands {
            operand.leaves(&mut |leaf| {
                if let Operand::Symbol(name, _) = leaf
                    && !address.is_some_and(|address| std::ptr::eq(address, leaf))
                    && let Some(uses) = uses.get_mut(name)
                {
                    uses.escapes = true;
                }
            });
        }
    }
    uses
}

impl Uses {
    fn place(&self, entry: &mut Entry) -> Place {
        if self.escapes || !self.fits_registers() {
            return Place::Memory;
        }
        let registers = (self.cells.iter())
            .map(|(&offset, &bytes)| Some((offset, fresh(entry, bytes)?)))
            .collect::<Option<_>>();
        registers.map_or(Place::Memory, Place::Registers)
    }

    /// Whether values do not overlap, and whole ones are written and read; of one of up to 4 bytes the low part may be read.
    fn fits_registers(&self) -> bool {
        let mut end = i64::MIN;
        self.cells.iter().all(|(&offset, &bytes)| {
            let free = end <= offset;
            end = offset.saturating_add_unsigned(bytes);
            free
        }) && (self.stores.iter()).all(|(offset, bytes)| self.cells[offset] == *bytes)
            && (self.loads.iter()).all(|(offset, bytes)| {
                let whole = self.cells[offset];
                whole == *bytes || whole <= 4
            })
    }
}

/// `ld.param` or `st.param` with the name of a variable.
#[derive(Debug)]
struct Access<'i> {
    name: &'i str,
    /// The operand with the name.
    address: &'i Operand,
    offset: i64,
    /// Bytes of an element.
    bytes: u64,
    signed: bool,
    stores: bool,
    data: &'i [Operand],
}

impl<'i> Access<'i> {
    fn of(instruction: &'i Instruction) -> Option<Self> {
        let stores = match instruction.part(0) {
            "ld" => false,
            "st" => true,
            _ => return None,
        };
        if !matches!(instruction.part(1), "param" | "param::func") {
            return None;
        }
        let [first, second] = &instruction.operands[..] else {
            return None;
        };
        let (memory, data) = if stores {
            (first, second)
        } else {
            (second, first)
        };
        let Operand::Memory(address, offset) = memory else {
            return None;
        };
        let Operand::Symbol(name, inner) = &**address else {
            return None;
        };
        let bytes = variable::type_size(instruction.kind()).filter(|&bytes| bytes <= 8)?;
        Some(Access {
            name,
            address,
            offset: offset.wrapping_add(*inner),
            bytes: bytes.into(),
            signed: instruction.kind().starts_with('s'),
            stores,
            data: match data {
                Operand::Vector(members) => members,
                one => std::slice::from_ref(one),
            },
        })
    }

    /// Offsets and operands of what is loaded or stored.
    fn elements(&self) -> impl Iterator<Item = (i64, &'i Operand)> {
        let (first, bytes) = (self.offset, self.bytes);
        (0..)
            .map(move |index: u64| first.wrapping_add_unsigned(index * bytes))
            .zip(self.data)
    }

    /// The same as moves from and to registers: opcodes and operands.
    fn moves(
        &self,
        registers: &BTreeMap<i64, Register>,
    ) -> impl Iterator<Item = (Vec<String>, Vec<Operand>)> {
        let wanted = self.elements().filter(|&(_, data)| *data != Operand::Sink);
        wanted.map(|(offset, data)| {
            let kept = registers[&offset];
            let operands = [Operand::Register(kept), data.clone()];
            if self.stores {
                (self.store_opcode(kept, data), operands.into())
            } else {
                (
                    self.load_opcode(kept, data),
                    operands.into_iter().rev().collect(),
                )
            }
        })
    }

    fn store_opcode(&self, kept: Register, data: &Operand) -> Vec<String> {
        if is_wide(data) && kept.class != Class::Bits64 {
            // The low part of a register that is wider than the value.
            return ["cvt", "u32", "u64"].map(String::from).into();
        }
        vec!["mov".to_owned(), kind(kept).to_owned()]
    }

    fn load_opcode(&self, kept: Register, data: &Operand) -> Vec<String> {
        let same_class = is_wide(data) == (kept.class == Class::Bits64);
        if self.bytes >= 4 && same_class {
            return vec!["mov".to_owned(), kind(kept).to_owned()];
        }
        // Narrow values fill the register up, as a load does.
        let sign = if self.signed { 's' } else { 'u' };
        let width = if is_wide(data) { 64 } else { 32 };
        vec![
            "cvt".to_owned(),
            format!("{sign}{width}"),
            format!("{sign}{}", 8 * self.bytes),
        ]
    }
}

fn is_wide(operand: &Operand) -> bool {
    matches!(operand, Operand::Register(register) if register.class == Class::Bits64)
}
