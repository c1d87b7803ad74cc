//! The directory: files by their names, and handles of them.

use super::file::{File, Opening};
use super::{Device, Failure, Mode, Ticket};

impl Device {
    pub(crate) fn open(&mut self, generation: u64, name: &str, mode: Mode) -> Result<Ticket, Failure> {
        self.is_of_now(generation)?;
        let file = match self.names.get(name) {
            Some(_) if mode.create && mode.must_be_new => return Err(Failure::Io),
            Some(file) => *file,
            None if mode.create => self.create(name)?,
            None => return Err(Failure::Missing),
        };
        let handle = self.number();
        let opening = Opening {
            syncs_directory: mode.syncs_directory,
            ..Opening::default()
        };
        let opened = self.files.get_mut(&file).ok_or(Failure::Missing)?;
        opened.openings.insert(handle, opening);
        Ok(Ticket {
            generation,
            file,
            handle,
            name: name.to_owned(),
        })
    }

    fn create(&mut self, name: &str) -> Result<u64, Failure> {
        let hit = self.step(|| format!("create {name}"));
        self.suffer(hit)?;
        if self.faults.full {
            return Err(Failure::Full);
        }
        let file = self.number();
        self.files.insert(file, File::default());
        self.names.insert(name.to_owned(), file);
        Ok(file)
    }

    pub(crate) fn close(&mut self, ticket: &Ticket) {
        if ticket.generation == self.generation
            && let Some(file) = self.files.get_mut(&ticket.file)
        {
            file.openings.remove(&ticket.handle);
            file.leave_shared_memory();
            self.forget_files();
        }
    }

    pub(crate) fn delete(&mut self, generation: u64, name: &str, sync_directory: bool) -> Result<(), Failure> {
        self.is_of_now(generation)?;
        if !self.names.contains_key(name) {
            return Err(Failure::Missing);
        }
        let hit = self.step(|| format!("delete {name}"));
        self.suffer(hit)?;
        self.names.remove(name);
        if sync_directory {
            self.sync_directory()?;
        }
        self.forget_files();
        Ok(())
    }

    pub(super) fn sync_directory(&mut self) -> Result<(), Failure> {
        if self.faults.strike_sync(None) {
            return Err(Failure::Io);
        }
        if !self.faults.sync_lies {
            self.names_on_medium.clone_from(&self.names);
        }
        Ok(())
    }

    /// Whether there is such a file, and something in it unless `even_empty`.
    pub(crate) fn exists(&self, generation: u64, name: &str, even_empty: bool) -> Result<bool, Failure> {
        self.is_of_now(generation)?;
        let file = self.names.get(name).and_then(|file| self.files.get(file));
        Ok(file.is_some_and(|file| even_empty || file.cache().len() > 0))
    }

    /// Frees what has no name, not even on the medium, and no handle.
    pub(super) fn forget_files(&mut self) {
        let (now, then) = (&self.names, &self.names_on_medium);
        let is_named = |number: &u64| now.values().chain(then.values()).any(|named| named == number);
        self.files
            .retain(|number, file| !file.openings.is_empty() || is_named(number));
    }
}
