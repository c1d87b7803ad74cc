use super::{App, Engine, Page, page, page_size};
use crate::access::{Actor, ApiKey, NewApiKey, draw_key, lookup_part};
use crate::change::Change;
use crate::error::{Invalid, Result};
use crate::event::{EventKind, Happening, Subject};
use crate::id::ApiKeyId;
use crate::store;

/// API keys of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a>(pub(super) &'a App);

impl Keys<'_> {
    /// Makes a key. Its secret is in the answer and nowhere else: the file keeps a hash. Not
    /// idempotent: a lost answer is a key that nobody knows, to be revoked. [`Keys::draw`] and
    /// [`Keys::add`] are this in two steps, of which the second can be repeated.
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
        let drawn = self.draw()?;
        let key = self.add(&drawn)?;
        Ok(NewApiKey { key, ..drawn })
    }

    /// Draws a key and its secret, and writes nothing: the key opens nothing until it is given to
    /// [`Keys::add`].
    ///
    /// # Errors
    /// [`crate::Error::NoEntropy`].
    pub fn draw(&self) -> Result<NewApiKey> {
        let mode = self.0.world.mode;
        let id: ApiKeyId = self.0.core.mint()?.id(mode);
        draw_key(id, mode, self.0.core.clock.now())
    }

    /// Puts a key that was drawn in force. Idempotent by state: a key that is there stays as it is,
    /// revoked where it was revoked.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a key whose parts do not belong together, or that is another app's;
    /// [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `api_key.created`, once.
    pub fn add(&self, drawn: &NewApiKey) -> Result<ApiKey> {
        let NewApiKey { key, secret } = drawn;
        self.0.own_mode(key.id.as_str(), key.id.mode())?;
        let parts = lookup_part(secret.expose());
        if parts != Some((self.0.world.mode, &key.prefix)) || !key.is_of(secret.expose()) {
            return Err(Invalid::new("key", "another secret than the key's", "a key as it was drawn").into());
        }
        let mut key = ApiKey {
            revoked_at: None,
            revision: 0,
            ..key.clone()
        };
        let moment = self.0.moment("keys.create")?;
        self.0.core.write(moment, move |tx| {
            if let Some((world, known)) = store::app::key_by_lookup(tx.sql, &key.prefix)? {
                if world == tx.world && (&known.id, known.hash) == (&key.id, key.hash) {
                    return Ok(known);
                }
                return Err(Invalid::new("key", "a key that is in use elsewhere", "a key that was just drawn").into());
            }
            key.created_at = tx.host_now;
            let mut change = Change::new();
            let created = Happening::plain(EventKind::ApiKeyCreated);
            change.record(Subject::ApiKey(key.clone()), [created]);
            tx.apply(&change)?;
            let revision = key.revision + 1;
            Ok(ApiKey {
                revision,
                ..key.clone()
            })
        })
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
