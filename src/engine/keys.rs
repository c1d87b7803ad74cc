use super::{App, Engine, Page, page, page_size};
use crate::access::{Actor, ApiKey, NewApiKey, draw_key, lookup_part};
use crate::change::Change;
use crate::error::Result;
use crate::event::{EventKind, Happening, Subject};
use crate::id::ApiKeyId;
use crate::store;

/// API keys of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a>(pub(super) &'a App);

impl Keys<'_> {
    /// Makes a key. Its secret is in the answer and nowhere else: the file keeps a hash. Not
    /// idempotent: a lost answer is a key that nobody knows, to be revoked.
    ///
    /// # Errors
    /// [`crate::Error::NoEntropy`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `api_key.created`.
    pub fn create(&self) -> Result<NewApiKey> {
        let mut moment = self.0.moment("keys.create")?;
        let id: ApiKeyId = moment.mint.id(self.0.world.mode);
        let mut new = draw_key(id, self.0.world.mode, moment.host_now)?;
        let key = new.key.clone();
        self.0.core.write(moment, move |tx| {
            let mut change = Change::new();
            change.record(
                Subject::ApiKey(key.clone()),
                [Happening::plain(EventKind::ApiKeyCreated)],
            );
            tx.apply(&change)
        })?;
        new.key.revision += 1;
        Ok(new)
    }

    /// Keys, newest first, up to `limit` (1 to 100) before one.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn list(&self, limit: u32, before: Option<&ApiKeyId>) -> Result<Page<ApiKey>> {
        let limit = page_size(limit)?;
        if let Some(id) = before {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            let found = store::app::keys(view.sql, view.world, before, limit + 1)?;
            Ok(page(found, limit))
        })
    }

    /// Revokes a key at once. Idempotent by state.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `api_key.revoked`, once.
    pub fn revoke(&self, id: &ApiKeyId) -> Result<ApiKey> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment("keys.revoke")?;
        self.0.core.write(moment, move |tx| {
            let mut key = store::app::key(tx.sql, tx.world, wanted.as_str())?;
            if key.revoked_at.is_none() {
                key.revoked_at = Some(tx.host_now);
                let mut change = Change::new();
                change.record(
                    Subject::ApiKey(key.clone()),
                    [Happening::plain(EventKind::ApiKeyRevoked)],
                );
                tx.apply(&change)?;
                key.revision += 1;
            }
            Ok(key)
        })
    }
}

pub(super) fn authenticate(engine: &Engine, secret: &str) -> Result<Option<App>> {
    let Some((mode, lookup)) = lookup_part(secret) else {
        return Ok(None);
    };
    let host_now = engine.core.clock.now();
    let found = engine.core.store.read(|sql| store::app::key_by_lookup(sql, lookup))?;
    let key = found.filter(|(world, key)| world.mode == mode && key.accepts(secret, host_now));
    Ok(key.map(|(world, key)| App {
        actor: Actor::Key(key.id),
        ..engine.handle(world)
    }))
}
