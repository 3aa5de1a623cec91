//! What must hold of the workspace as a whole, asserted from what cargo says about it and from its text.
//!
//! Every rule is a pure function from parsed data to a list of faults. It has two tests: the workspace has no fault,
//! and a workspace made to break the rule has one, so that a rule which stopped looking would be noticed.

// The attribute tells clippy that these modules, helpers included, are tests.
#[cfg(test)]
mod cargo;
#[cfg(test)]
mod direction;
#[cfg(test)]
mod manifest;
#[cfg(test)]
mod plugins_page;
mod portable;
#[cfg(test)]
mod text;
