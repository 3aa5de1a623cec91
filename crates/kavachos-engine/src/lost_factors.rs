//! Factors that are lost: whoever looks after a human takes them off, so that the human gets in again.
//!
//! Promises: nobody takes off their own like this, nor those of somebody who is trusted with more than they are; all
//! sessions end, it is on record, and the human is told by mail. What is demanded of them still is: the next sign-in leads
//! to a new factor and to nothing else.

use kavachos_core::id::UserId;
use kavachos_core::invalid::Invalid;
use kavachos_core::principal::Status;
use kavachos_store::{Batch, guess_run, second_factor, sign_in};
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::mail::{Mail, MailKind};
use crate::revoked::Revoked;
use crate::session_ends::Ended;
use crate::users::stored_role;

const KIND: &str = "user.factors_removed";

impl Engine {
    /// Takes off all that a human has of these methods; of none named, what is a second factor alone: codes of an app with
    /// their backup codes. Where there is nothing, nothing is done.
    ///
    /// # Errors
    /// There is no such human, they are deleted, the caller is this human or may not touch them, or a method has no factors.
    pub async fn remove_factors(
        &self,
        actor: &Actor,
        user: UserId,
        methods: Option<&[String]>,
    ) -> Result<Issued<Revoked>> {
        let methods = self.named_methods(user, methods)?;
        let act = Act::on_user(KIND, user);
        let plan = || self.plan_factors_end(actor, user, &methods);
        self.stop_sessions(actor, (act, user), plan).await
    }

    fn named_methods(&self, user: UserId, named: Option<&[String]>) -> Result<Vec<&'static str>> {
        let known = self.plugins().factor_methods(user);
        let Some(named) = named else {
            let second = known.iter().filter(|(_, is_second)| *is_second);
            return Ok(second.map(|(id, _)| *id).collect());
        };
        let mut methods = Vec::new();
        for (index, name) in named.iter().enumerate() {
            let Some((id, _)) = known.iter().find(|(id, _)| id == name) else {
                let names: Vec<_> = known.iter().map(|(id, _)| format!("`{id}`")).collect();
                let why = format!(
                    "this is no method with factors; known are {}",
                    names.join(", ")
                );
                return Err(Invalid::at(format!("methods[{index}]"), why).into());
            };
            if !methods.contains(id) {
                methods.push(*id);
            }
        }
        match methods.is_empty() {
            true => Err(Invalid::at("methods", "names none; leave it out, or name one").into()),
            false => Ok(methods),
        }
    }

    async fn plan_factors_end(
        &self,
        actor: &Actor,
        user: UserId,
        methods: &[&'static str],
    ) -> Result<Plan<Ended>> {
        actor.require(Scope::UsersWrite)?;
        let row = self.user_row(user).await?;
        actor.require_trust(stored_role(&row)?)?;
        if actor.is_human(user) {
            return Err(Error::Forbidden(
                "this is you: take off your own where you set it up, by showing it".to_owned(),
            ));
        }
        if let Some(done) = self.turned_before(actor).await? {
            return Ok(Plan::Done(Ended::of(done)));
        }
        if row.status == Status::Revoked {
            return Err(Error::WrongState("the user is deleted".to_owned()));
        }
        let done = Issued::without_token(Revoked::at(self.now()));
        let mut batch = Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        let mut count = 0_u64;
        for &method in methods {
            let (factors, removed) = self.plugins().factors_of(method, user)?;
            if let Some(factors) = factors {
                let found = self.store().find(factors.of::<(u64,)>()).await?;
                count = count.saturating_add(found.map_or(0, |(count,)| count));
            }
            batch.writes.extend(removed);
            batch.writes.extend([
                second_factor::disarm(user, method),
                guess_run::end(user, method),
            ]);
        }
        if count == 0 {
            let mut nothing = Batch {
                reads: actor.reads(),
                ..Batch::default()
            };
            self.claim_once(actor, &mut nothing, self.foreseen().to_string());
            return Ok(Plan::commit(nothing, Ended::of(done)));
        }
        batch.writes.push(sign_in::forget_of(user));
        let sessions = self.end_sessions(&mut batch, &row, None).await?;
        let kills = batch.kills.len();
        let details = json!({ "methods": methods, "factors": count, "sessions": sessions.len(), "revocations": kills });
        let entry = self.user_act(actor, KIND, (&row, &details, None))?;
        batch.entries.push(entry);
        if let Some(to) = self.told_at(&row) {
            let name = row.name.clone().unwrap_or_default();
            let mail = Mail::new(to, MailKind::FactorRemoved).with("name", name);
            batch.writes.extend(self.mail(&mail)?);
        }
        self.claim_once(actor, &mut batch, self.foreseen().to_string());
        let ended = Ended {
            answer: done,
            sessions,
        };
        Ok(Plan::commit(batch, ended))
    }
}
