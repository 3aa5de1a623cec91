//! Status as a column.

use kavachos_core::principal::Status;

use crate::batch::Param;
use crate::row::{Cell, FromCell};

impl From<Status> for Param {
    fn from(status: Status) -> Self {
        Self::from(status.as_str())
    }
}

impl FromCell for Status {
    const EXPECTED: &'static str = "a status";

    fn from_cell(cell: Cell) -> Option<Self> {
        String::from_cell(cell)?.parse().ok()
    }
}
