//! Endpoints' secrets, which lie sealed in the file, and what follows where they do not open.

use crate::alarm::Alarm;
use crate::engine::core::Core;
use crate::error::Result;
use crate::id::{EndpointId, World};
use crate::seal::SealKey;
use crate::secret::Secret;
use crate::store;
use crate::webhook::{Endpoint, SealedSecret, is_signing_key};

impl Core {
    /// Tells the host, once of each, of endpoints whose secrets this engine cannot open. Their deliveries wait.
    pub(in crate::engine) fn tell_sealed(&self, world: World, sealed: Vec<EndpointId>) -> Result<()> {
        for endpoint in sealed {
            if self.alarms.is_newly_sealed(&endpoint) {
                let app = self.store.read(|sql| store::app::slug_of(sql, world.app))?;
                self.alarms.tell([Alarm::EndpointSealed { app, endpoint }]);
            }
        }
        Ok(())
    }

    /// How many of these endpoints have no secret that opens here.
    pub(in crate::engine) fn count_sealed(&self, stored: &[(Endpoint, Vec<SealedSecret>)]) -> usize {
        let open = opening(self.seal.as_deref());
        stored
            .iter()
            .filter(|(endpoint, sealed)| open(endpoint, sealed).is_none())
            .count()
    }

    /// Those of an endpoint's secrets that open here, the newest first.
    pub(in crate::engine) fn open_secrets(&self, endpoint: &Endpoint, sealed: &[SealedSecret]) -> Vec<Secret> {
        opened(self.seal.as_deref(), endpoint, sealed)
    }
}

/// Those of an endpoint's secrets that a key opens, the newest first.
fn opened(seal: Option<&SealKey>, endpoint: &Endpoint, sealed: &[SealedSecret]) -> Vec<Secret> {
    let opened = |sealed: &SealedSecret| seal?.open(&sealed.bytes, endpoint.id.as_str()).ok();
    sealed.iter().filter_map(opened).collect()
}

/// Finds the secrets with which an endpoint is signed for; none if those that a key opens are not enough. A key
/// for Ed25519 alone does not serve receivers that hold a secret.
pub(super) fn opening(seal: Option<&SealKey>) -> impl Fn(&Endpoint, &[SealedSecret]) -> Option<Vec<Secret>> {
    move |endpoint, sealed| {
        let secrets = opened(seal, endpoint, sealed);
        secrets.iter().any(|secret| !is_signing_key(secret)).then_some(secrets)
    }
}
