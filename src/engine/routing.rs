//! Which processor is asked, decided before anything is written.

use super::App;
use super::alarms::shielded;
use crate::alarm::Hook;
use crate::error::{Error, Result, shortened};
use crate::hook::{Capabilities, RouteInput};
use crate::id::Mode;
use crate::money::Amount;

/// The name of the processor that takes an amount, by the host's rule if there is one; where there is
/// nothing to take yet, the first one.
pub(super) fn routed(app: &App, amount: Option<Amount>) -> Result<String> {
    let (core, mode) = (&app.core, app.world.mode);
    let (Some(route), Some(amount)) = (&core.route, amount) else {
        return Ok(core.processors(mode).first.clone().unwrap_or_default());
    };
    let app = core.view(app.world, |view| Ok(view.app.clone()))?;
    // A panicking rule names no processor; nothing has been written yet.
    let chosen = shielded(|| Hook::Route, || route(&RouteInput { app, mode, amount }));
    Ok(chosen.unwrap_or_else(|alarm| {
        core.alarms.tell([alarm]);
        String::new()
    }))
}

/// A processor with what it can do, if money can go through it.
pub(super) fn able(app: &App, name: String) -> Result<(String, Capabilities)> {
    let (core, mode) = (&app.core, app.world.mode);
    let missing = || Error::NoProcessor {
        name: shortened(&name),
        mode: mode.as_str(),
    };
    let capabilities = match core.capabilities(mode, &name) {
        Ok(known) => known.ok_or_else(missing)?,
        Err(panicked) => {
            core.alarms.tell([panicked]);
            Capabilities::default()
        }
    };
    if mode == Mode::Live && !capabilities.lookup && !core.resolved_by_hand.contains(&name) {
        return Err(Error::UnsafeProcessor { name });
    }
    Ok((name, capabilities))
}
