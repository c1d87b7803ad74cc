//! Decisions: pure functions of loaded values, times and fresh ids. They return what to write and
//! touch nothing; the same arguments give the same change, however often they are tried.

pub(crate) mod access;
pub(crate) mod attempt;
pub(crate) mod capturing;
pub(crate) mod catalog;
pub(crate) mod checkout;
pub(crate) mod customer;
pub(crate) mod methods;
pub(crate) mod notices;
pub(crate) mod pricing;
pub(crate) mod refunding;
pub(crate) mod settlement;
pub(crate) mod setups;

#[cfg(test)]
mod tests;
