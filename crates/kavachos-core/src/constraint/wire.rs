//! Reading constraints strictly: an object is an object, a stated member has a value, a list has an end.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Reads a member that may be left out but not be `null`: a `null` could be read as "no limit" by one and "none" by
/// another.
pub(super) fn stated<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads a derived struct from an object only; by itself it would also take the members of an array in order.
pub(super) fn object<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Object<T>(&'static str, PhantomData<fn() -> T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }

    deserializer.deserialize_map(Object(expected, PhantomData))
}

/// Reads a list of 1 to `most` items, and stops at the first one too many.
pub(super) fn list<'de, D, T>(deserializer: D, most: usize) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(List(most, PhantomData))
}

/// Reads 1 to so many items from a list.
pub(super) struct List<T>(pub(super) usize, pub(super) PhantomData<fn() -> T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of 1 to {} items", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element()? {
            if read.len() == self.0 {
                return Err(de::Error::custom(format!(
                    "more than {} items; write fewer",
                    self.0
                )));
            }
            read.push(item);
        }
        if read.is_empty() {
            return Err(de::Error::custom(
                "an empty list allows nothing; name at least one item or leave the member out",
            ));
        }
        Ok(read)
    }
}
