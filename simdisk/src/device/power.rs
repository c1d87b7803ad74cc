//! Power: what every operation needs, what a fault takes away, and what is left after a reboot.

use std::collections::BTreeSet;

use super::{Device, Failure, Names, Survive};
use crate::fault::{Fault, Faults};

impl Device {
    /// The power is on again and a new generation begins, with no plans for faults.
    pub(crate) fn reboot(&mut self, survive: Survive) {
        let names = match survive {
            Survive::OnlySynced => std::mem::take(&mut self.names_on_medium),
            Survive::Everything => std::mem::take(&mut self.names),
            Survive::Random { .. } => self.scattered_names(),
        };
        let files = std::mem::take(&mut self.files);
        (self.names, self.names_on_medium) = (Names::new(), Names::new());
        for (name, file) in &names {
            let Some(file) = files.get(file) else { continue };
            let contents = match survive {
                Survive::OnlySynced => file.synced(),
                Survive::Everything => file.cache().clone(),
                Survive::Random { keep_percent } => file.scattered(keep_percent, &mut self.chance),
            };
            self.settle(name, contents);
        }
        self.generation += 1;
        self.powered = true;
        self.faults = Faults::default();
        self.stats.reboots += 1;
        self.note(|| format!("reboot {survive:?}"));
    }

    /// Where the directory and what is on the medium differ, either may be found.
    fn scattered_names(&mut self) -> Names {
        let all: BTreeSet<&String> = self.names.keys().chain(self.names_on_medium.keys()).collect();
        let mut found = Names::new();
        for name in all {
            let (new, old) = (self.names.get(name), self.names_on_medium.get(name));
            let which = if new == old || self.chance.percent(50) {
                new
            } else {
                old
            };
            if let Some(file) = which {
                found.insert(name.clone(), *file);
            }
        }
        found
    }

    /// Counts an operation and says what strikes it.
    pub(super) fn step(&mut self, line: impl FnOnce() -> String) -> Option<Fault> {
        let operation = self.stats.operations;
        self.stats.operations += 1;
        let hit = self.faults.strike(operation);
        self.note(|| match hit {
            None => line(),
            Some(fault) => format!("{} {fault:?}", line()),
        });
        hit
    }

    /// What comes of a fault, once what it left of the operation is done.
    pub(super) fn suffer(&mut self, hit: Option<Fault>) -> Result<(), Failure> {
        match hit {
            None => Ok(()),
            Some(fault) => {
                if matches!(fault, Fault::PowerCut | Fault::TornPowerCut) {
                    self.powered = false;
                }
                Err(Failure::Io)
            }
        }
    }

    pub(super) fn is_of_now(&self, generation: u64) -> Result<(), Failure> {
        if self.powered && generation == self.generation {
            Ok(())
        } else {
            Err(Failure::Io)
        }
    }
}
