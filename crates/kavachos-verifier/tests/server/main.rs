//! The verifier against a running server, over the network: tokens that the server makes, revocations that it pushes,
//! and tool servers that only the verifier's layer protects.

#[cfg(test)]
mod chain;
#[cfg(test)]
mod deciding;
#[cfg(test)]
mod load;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod mcp_client;
#[cfg(test)]
mod process;
#[cfg(test)]
mod reporting;
#[cfg(test)]
mod stolen;
#[cfg(test)]
mod tool;
#[cfg(test)]
mod world;
