//! P14: the server `kavach` at rest: its memory, its start, its size.

use crate::Length;
use crate::report::Figure;

pub(crate) fn run(_: Length) -> Vec<Figure> {
    Vec::new()
}
