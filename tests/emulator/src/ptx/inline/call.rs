//! The operands of `call`.

use std::collections::HashMap;

use super::super::{Instruction, Operand, Variable};
use super::frame::{Frame, Named};

/// Whether it is a call as the text has it.
pub(super) fn is_call(instruction: &Instruction) -> bool {
    instruction.part(0) == "call"
}

/// A direct call.
#[derive(Debug)]
pub(super) struct Call<'m> {
    /// What is called.
    pub(super) name: &'m str,
    /// Variables for the results.
    pub(super) results: Vec<Named>,
    /// Variables with the arguments.
    pub(super) arguments: Vec<Named>,
}

impl<'m> Call<'m> {
    /// Reads `call (result), name, (argument, ...)`, where brackets may be missing.
    pub(super) fn of(instruction: &'m Instruction, frame: &Frame<'m>) -> Result<Self, String> {
        let (results, name, arguments): (&[_], _, &[_]) = match &instruction.operands[..] {
            [Operand::Symbol(name, 0)] => (&[], name, &[]),
            [Operand::Symbol(name, 0), Operand::Vector(arguments)] => (&[], name, arguments),
            [Operand::Vector(results), Operand::Symbol(name, 0)] => (results, name, &[]),
            [
                Operand::Vector(results),
                Operand::Symbol(name, 0),
                Operand::Vector(arguments),
            ] => (results, name, arguments),
            _ => return Err("only direct calls are supported".to_owned()),
        };
        let variables = |operands: &[Operand]| -> Result<Vec<Named>, String> {
            operands
                .iter()
                .map(|operand| variable(operand, frame))
                .collect()
        };
        Ok(Call {
            name,
            results: variables(results)?,
            arguments: variables(arguments)?,
        })
    }

    /// What parameters and results of a function are in this call: the caller's variables themselves. They belong to this
    /// call alone, so nobody else sees what the function writes there.
    pub(super) fn bind(
        &self,
        parameters: &'m [Variable],
        results: &'m [Variable],
    ) -> Result<HashMap<&'m str, Named>, String> {
        let sizes = |variables: &[Variable]| -> Vec<u64> {
            variables.iter().map(|variable| variable.size).collect()
        };
        self.check(&sizes(parameters), &sizes(results))?;
        let formal = parameters.iter().chain(results);
        let actual = self.arguments.iter().chain(&self.results);
        Ok(formal
            .map(|variable| variable.name.as_str())
            .zip(actual.cloned())
            .collect())
    }

    /// Refuses a call whose arguments or results have not the sizes that the function has.
    pub(super) fn check(&self, parameters: &[u64], results: &[u64]) -> Result<(), String> {
        let sizes = |variables: &[Named]| -> Vec<u64> {
            variables.iter().map(|variable| variable.size).collect()
        };
        let (arguments, wanted) = (sizes(&self.arguments), sizes(&self.results));
        if arguments == parameters && wanted == results {
            return Ok(());
        }
        Err(format!(
            "arguments of {arguments:?} bytes and results of {wanted:?} for a function of {parameters:?} and {results:?}"
        ))
    }
}

fn variable(operand: &Operand, frame: &Frame<'_>) -> Result<Named, String> {
    let named = match operand {
        Operand::Symbol(name, 0) => frame.names.get(name.as_str()),
        _ => None,
    };
    named.cloned().ok_or_else(|| {
        format!("only .param variables can be arguments and results, not {operand:?}")
    })
}
