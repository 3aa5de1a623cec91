//! How a tool server is told who the human is: in a token, and at a proxy.
//!
//! One of our own is told the human's id. One that others run is told a name that no other tool server is told, so that
//! two of them cannot tell by it that they serve the same human.

use kavachos_core::id::{ToolServerId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::token::Subject;
use kavachos_core::tool_server::Party;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::master::derived;

/// How much of what is derived makes the name.
const NAME_BYTES: usize = 16;

impl Engine {
    /// The name by which this tool server knows a human, always the same one.
    ///
    /// # Errors
    /// The tool server is others', and there is no master key to derive a name from.
    pub(crate) fn named_to(
        &self,
        user: UserId,
        (server, party): (ToolServerId, Party),
    ) -> Result<Subject> {
        let text = match party {
            Party::First => user.to_string(),
            Party::Third => {
                let master = self.needed_master_key()?;
                let name = format!("kavachos pairwise subject 1\n{user}\n{server}");
                let derived = derived(master, &[name.as_bytes()]);
                let half = derived
                    .first_chunk::<NAME_BYTES>()
                    .unwrap_or(&[0; NAME_BYTES]);
                format!("pair_{}", kavachos_core::hex::encode(half))
            }
        };
        text.parse()
            .map_err(|error: Invalid| Error::Internal(error.to_string()))
    }
}
