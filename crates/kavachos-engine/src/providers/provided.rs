//! A human whom a provider vouches for, as a caller: for one token, and for nothing else.

use std::sync::Arc;

use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::User;
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;
use kavachos_store::{Write, given_identity, vouching};
use serde_json::{Map, Value};

use super::{Presenter, Provider};
use crate::users::External;

/// A human of an outside provider, whose token was just presented. All that can be done with it is to make a token, once.
#[derive(Debug, Clone)]
pub struct Provided {
    pub(super) user: Arc<User>,
    pub(super) external: External,
    pub(super) provider: Arc<Provider>,
    pub(super) presenter: Presenter,
    pub(super) issued_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) digest: [u8; 32],
}

impl Provided {
    /// The human.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The provider's name.
    pub fn provider(&self) -> &str {
        self.provider.name.as_str()
    }

    /// Who presented the token: a client's or a key's id.
    pub fn presenter(&self) -> String {
        self.presenter.name()
    }

    /// When the provider's token ends; nothing that comes of it lives longer.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// The credential of whoever presented it, where that can be revoked by itself.
    pub(crate) fn presented_with(&self) -> Option<Mark> {
        self.presenter.mark()
    }

    /// What must still be so when the writer comes to a batch of this caller.
    pub(crate) fn reads(&self) -> impl Iterator<Item = Mark> + use<> {
        [Some(self.user.mark), self.presented_with()]
            .into_iter()
            .flatten()
    }

    /// The same of what no handle tells: the identity is the human's, and they have no second factor. And that somebody
    /// came in by it, if an operator gave it to them.
    pub(crate) fn still(&self) -> [Write; 2] {
        let human = self.user.id;
        [
            vouching::still(human, self.external.pair()),
            given_identity::used(human),
        ]
    }

    /// What nothing that comes of it may exceed.
    pub(crate) fn ceilings(&self) -> impl Iterator<Item = &PermissionSet> {
        std::iter::once(&self.provider.ceiling).chain(self.presenter.ceiling())
    }

    /// What records say of it.
    pub(crate) fn details(&self) -> Map<String, Value> {
        self.presenter.details(Some(&self.provider.name))
    }
}
