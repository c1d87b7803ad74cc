use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::{
    Catalog, Consumers, Customers, Deliveries, Disputes, Endpoints, Entitlements, Keys, Notifications, Refunds,
    Sessions, Setups,
};
use crate::access::Actor;
use crate::error::{Error, Invalid, Refused, Result, shortened};
use crate::id::{Mode, World};
use crate::payment::LatePayments;
use crate::store::{self, Access, Moment};
use crate::text::Url;
use crate::time::Timestamp;

/// A handle on one app in one mode. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(super) core: Arc<Core>,
    pub(super) world: World,
    pub(super) actor: Actor,
}

impl App {
    pub(super) fn new(core: Arc<Core>, world: World) -> App {
        App {
            core,
            world,
            actor: Actor::Host,
        }
    }

    /// The same handle, acting on somebody's behalf: it stands on every row of history.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is not 1 to 64 characters.
    pub fn acting_as(&self, actor: Actor) -> Result<App> {
        Ok(App {
            actor: actor.checked()?,
            ..self.clone()
        })
    }

    /// The mode of this handle.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.world.mode
    }

    /// Products and prices.
    #[must_use]
    pub fn catalog(&self) -> Catalog<'_> {
        Catalog(self)
    }

    /// Checkout sessions and their payment.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(self)
    }

    /// Payment methods that are saved without taking money.
    #[must_use]
    pub fn setups(&self) -> Setups<'_> {
        Setups(self)
    }

    /// Money that goes back.
    #[must_use]
    pub fn refunds(&self) -> Refunds<'_> {
        Refunds(self)
    }

    /// Charges that buyers dispute with their banks.
    #[must_use]
    pub fn disputes(&self) -> Disputes<'_> {
        Disputes(self)
    }

    /// What payment services say by themselves.
    #[must_use]
    pub fn notifications(&self) -> Notifications<'_> {
        Notifications(self)
    }

    /// Customers.
    #[must_use]
    pub fn customers(&self) -> Customers<'_> {
        Customers(self)
    }

    /// What somebody may use.
    #[must_use]
    pub fn entitlements(&self) -> Entitlements<'_> {
        Entitlements(self)
    }

    /// Webhook endpoints.
    #[must_use]
    pub fn endpoints(&self) -> Endpoints<'_> {
        Endpoints(self)
    }

    /// The host's own programs that follow the events.
    #[must_use]
    pub fn consumers(&self) -> Consumers<'_> {
        Consumers(self)
    }

    /// Events on their way to endpoints, and sending them again.
    #[must_use]
    pub fn deliveries(&self) -> Deliveries<'_> {
        Deliveries(self)
    }

    /// API keys.
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    /// The app's slug.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn slug(&self) -> Result<String> {
        self.core.view(self.world, |view| Ok(view.app.clone()))
    }

    /// Engine time: never behind the host's clock, never going back, ahead of the clock by what the
    /// test clock was advanced.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn now(&self) -> Result<Timestamp> {
        self.core.view(self.world, |view| Ok(view.now))
    }

    /// Moves the test clock forward and answers the engine time afterwards. What falls due by it is
    /// done by the next `run_due`; what is read shows it at once. Calls in flight, leases and
    /// delivery times follow the host's clock and are not moved. Forward only. Not idempotent: each call
    /// moves it on.
    ///
    /// # Errors
    /// [`Error::Refused`] in live mode; [`Error::Storage`].
    ///
    /// # Durability
    /// The clock's position is on disk when this returns.
    ///
    /// # Events
    /// None of its own.
    pub fn advance(&self, by: Duration) -> Result<Timestamp> {
        if self.world.mode == Mode::Live {
            return Err(Refused {
                object: "clock",
                state: "live",
                event: "an advance",
            }
            .into());
        }
        let moment = self.moment("advance")?;
        self.core.write(moment, move |tx| tx.advance(by))
    }

    /// The base of the links to the hosted pages, both modes; none: sessions have no URL. A session
    /// keeps the base that it was made with. Idempotent by state.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not an absolute http or https URL; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// None.
    pub fn set_public_url(&self, url: Option<&str>) -> Result<()> {
        let url = url
            .map(|url| {
                let parsed = Url::parse("public_url", url)?;
                if parsed.as_str().contains(['?', '#', '{', '}']) {
                    return Err(Invalid::new("public_url", url, "a URL without query, fragment or braces").into());
                }
                Ok::<_, Error>(parsed.as_str().trim_end_matches('/').to_owned())
            })
            .transpose()?;
        let app = self.world.app;
        self.core.write_raw(Access::Shared, "set_public_url", move |sql| {
            store::app::set_public_url(sql, app, url.as_deref())
        })
    }

    /// What becomes of money that arrives when there is nothing left to pay with it, in both modes: it
    /// goes back by itself unless it is to be held. Another amount than was asked is held in any case.
    /// Idempotent by state.
    ///
    /// # Errors
    /// [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns; what arrived before is not touched.
    ///
    /// # Events
    /// None.
    pub fn set_late_payments(&self, late: LatePayments) -> Result<()> {
        let app = self.world.app;
        self.core.write_raw(Access::Shared, "set_late_payments", move |sql| {
            store::app::set_late_payments(sql, app, late)
        })
    }

    pub(super) fn moment(&self, cause: &'static str) -> Result<Moment> {
        self.core.moment(self.world, self.actor.clone(), cause)
    }

    /// Refuses an id of the other mode before the file is asked.
    pub(super) fn own_mode(&self, id: &str, found: Mode) -> Result<()> {
        if found == self.world.mode {
            return Ok(());
        }
        Err(Error::WrongMode {
            id: shortened(id),
            found: found.as_str(),
            handle: self.world.mode.as_str(),
        })
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("number", &self.world.app)
            .field("mode", &self.world.mode)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}
