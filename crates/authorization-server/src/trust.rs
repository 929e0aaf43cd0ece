//! The trust anchors of this server: those of the configuration and those an administrator added.
//!
//! They are one immutable value with an epoch. Whatever changes makes a new value with a higher epoch, and every cached
//! verdict names the epoch under which it was reached.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use keybound_protocol::certificate_file::{self, CertificateFileError};
use keybound_protocol::trust_anchor::{
    CrlMissing, TrustAnchor, TrustAnchorError, TrustAnchorName, TrustAnchorSettings, TrustAnchors,
};
use keybound_store::{StoreError, StoredTrustAnchor, TrustAnchors as StoredTrustAnchors};
use serde::{Deserialize, Serialize};

/// A trust anchor as the admin API takes, stores and shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustAnchorDefinition {
    /// By which clients refer to it.
    pub(crate) name: TrustAnchorName,
    /// The authority's certificate or certificates, PEM.
    pub(crate) certificates: String,
    /// Revocation lists, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocation_lists: Option<String>,
    /// What if there is no list of an issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crl_missing: Option<CrlMissing>,
    /// Whether end-entity certificates must have `clientAuth`.
    #[serde(default)]
    pub(crate) require_client_auth_eku: bool,
    /// Whether paths must also keep what RFC 5280 §4 asks of issuers alone.
    #[serde(default)]
    pub(crate) strict: bool,
}

/// Why a definition makes no trust anchor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustAnchorDefinitionError {
    #[error("member `certificates`")]
    Certificates(#[source] CertificateFileError),
    #[error("member `revocation_lists`")]
    RevocationLists(#[source] CertificateFileError),
    #[error(transparent)]
    Anchor(#[from] TrustAnchorError),
}

impl TrustAnchorDefinition {
    /// Reads the PEM and checks that it can be trusted at all.
    pub(crate) fn load(&self) -> Result<Vec<TrustAnchor>, TrustAnchorDefinitionError> {
        let certificates = certificate_file::certificates(self.certificates.as_bytes());
        let lists = self
            .revocation_lists
            .as_deref()
            .map(|pem| certificate_file::revocation_lists(pem.as_bytes()));
        let settings = TrustAnchorSettings {
            name: self.name.clone(),
            certificates: certificates.map_err(TrustAnchorDefinitionError::Certificates)?,
            crls: lists
                .transpose()
                .map_err(TrustAnchorDefinitionError::RevocationLists)?
                .unwrap_or_default(),
            crl_missing: self.crl_missing,
            require_client_auth_eku: self.require_client_auth_eku,
            strict: self.strict,
        };
        Ok(TrustAnchor::load(&settings)?)
    }
}

/// The anchors now.
pub(crate) struct Trust {
    stored: Arc<dyn StoredTrustAnchors>,
    parts: Mutex<Parts>,
    epoch: AtomicU64,
    current: ArcSwap<TrustAnchors>,
}

#[derive(Default)]
struct Parts {
    configured: Vec<TrustAnchor>,
    added: Vec<TrustAnchor>,
    stored_epoch: Option<u64>,
}

impl Trust {
    /// With the configured anchors; [`refresh`](Self::refresh) adds the stored ones.
    pub(crate) fn new(stored: Arc<dyn StoredTrustAnchors>, configured: Vec<TrustAnchor>) -> Trust {
        let trust = Trust {
            stored,
            parts: Mutex::default(),
            epoch: AtomicU64::new(0),
            current: ArcSwap::from_pointee(TrustAnchors::none()),
        };
        trust.configure(configured);
        trust
    }

    /// Replaces the configured anchors.
    pub(crate) fn configure(&self, configured: Vec<TrustAnchor>) {
        self.change(|parts| {
            parts.configured = configured;
            true
        });
    }

    /// Reads the stored anchors again if they, or revocations, have changed.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let epoch = self.stored.trust_epoch()?;
        if self.parts.lock().unwrap_or_else(PoisonError::into_inner).stored_epoch == Some(epoch) {
            return Ok(());
        }
        let added = self
            .stored
            .trust_anchors()
            .await?
            .iter()
            .flat_map(load_stored)
            .collect();
        self.change(|parts| {
            // Another refresh may have begun later and ended sooner: what it read is newer.
            let is_newest = parts.stored_epoch.is_none_or(|known| known <= epoch);
            if is_newest {
                parts.added = added;
                parts.stored_epoch = Some(epoch);
            }
            is_newest
        });
        Ok(())
    }

    /// The anchors now.
    pub(crate) fn anchors(&self) -> Guard<Arc<TrustAnchors>> {
        self.current.load()
    }

    /// The configured anchors, which the admin API shows and does not change.
    pub(crate) fn configured(&self) -> Vec<TrustAnchor> {
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .configured
            .clone()
    }

    /// Makes the anchors anew, if `change` says that it changed anything.
    fn change(&self, change: impl FnOnce(&mut Parts) -> bool) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut parts) {
            return;
        }
        // Under the lock, so that a higher epoch never holds older anchors.
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let anchors = parts.configured.iter().chain(&parts.added).cloned().collect();
        self.current.store(Arc::new(TrustAnchors::new(epoch, anchors)));
    }
}

/// A definition that does not load any more is left out: trusting less is safe, and the rest goes on working.
fn load_stored(stored: &StoredTrustAnchor) -> Vec<TrustAnchor> {
    let loaded = serde_json::from_str::<TrustAnchorDefinition>(&stored.definition)
        .map_err(|error| error.to_string())
        .and_then(|definition| definition.load().map_err(|error| error.to_string()));
    loaded.unwrap_or_else(|error| {
        tracing::error!(
            anchor = stored.name,
            error,
            "a stored trust anchor cannot be used and is left out"
        );
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use keybound_store::{
        Answer, AuditEntry, CreateTrustAnchor, DeleteTrustAnchor, NewTrustAnchor, ReplaceTrustAnchor,
    };
    use tokio::sync::Notify;

    use super::*;

    /// A store whose first list of anchors takes until it is let go.
    #[derive(Default)]
    struct Slow {
        epoch: AtomicU64,
        let_go: Arc<Notify>,
    }

    fn not_used<T: Send + 'static>() -> Answer<T> {
        Box::pin(async { Err(StoreError::Closed) })
    }

    impl StoredTrustAnchors for Slow {
        fn create_trust_anchor(&self, _: NewTrustAnchor, _: AuditEntry) -> Answer<CreateTrustAnchor> {
            not_used()
        }

        fn replace_trust_anchor(&self, _: NewTrustAnchor, _: Option<u64>, _: AuditEntry) -> Answer<ReplaceTrustAnchor> {
            not_used()
        }

        fn delete_trust_anchor(&self, _: String, _: Option<u64>, _: AuditEntry) -> Answer<DeleteTrustAnchor> {
            not_used()
        }

        fn trust_anchors(&self) -> Answer<Vec<StoredTrustAnchor>> {
            // Epoch by epoch: the second sees that the first anchor was removed.
            let is_first = self.epoch.fetch_add(1, Ordering::Relaxed) == 0;
            let let_go = Arc::clone(&self.let_go);
            Box::pin(async move {
                if is_first {
                    let_go.notified().await;
                }
                Ok(Vec::new())
            })
        }

        fn trust_epoch(&self) -> Result<u64, StoreError> {
            Ok(self.epoch.load(Ordering::Relaxed))
        }
    }

    #[tokio::test]
    async fn what_was_read_earlier_does_not_replace_what_was_read_later() {
        let store = Arc::new(Slow::default());
        let trust = Arc::new(Trust::new(
            Arc::clone(&store) as Arc<dyn StoredTrustAnchors>,
            Vec::new(),
        ));
        let slow = tokio::spawn({
            let trust = Arc::clone(&trust);
            async move { trust.refresh().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(store.epoch.load(Ordering::Relaxed), 1, "the slow one has begun");
        assert!(trust.refresh().await.is_ok());
        let epoch = trust.anchors().epoch();
        store.let_go.notify_one();
        assert!(slow.await.is_ok_and(|refreshed| refreshed.is_ok()));
        let parts = trust.parts.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((parts.stored_epoch, trust.anchors().epoch()), (Some(1), epoch));
    }
}
