//! Server-sent events, taken apart (HTML, 9.2.6) as far as servers of ours use them: lines end with a line feed.

/// The longest message; a record is much shorter.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its number.
    pub(crate) id: Option<u64>,
    /// Its type; empty for the usual one.
    pub(crate) event: String,
    /// What it says. A line's end within it has become a blank, which is the same in JSON.
    pub(crate) data: String,
}

/// What came of a stream and is no whole message yet.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    line: Vec<u8>,
    message: Message,
}

impl EventStream {
    /// The messages that these bytes bring to their end; `None` for what is no such stream.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<Vec<Message>> {
        let mut messages = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.message.data.len() + part.len() > MAX_MESSAGE_BYTES {
                return None;
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                messages.extend(self.line(std::str::from_utf8(&line).ok()?));
            }
        }
        Some(messages)
    }

    /// Reads one line; an empty one ends the message, if it says anything.
    fn line(&mut self, line: &str) -> Option<Message> {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return Some(message).filter(|message| !message.data.is_empty());
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.message.id = value.parse().ok(),
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push(' ');
                }
                self.message.data.push_str(value);
            }
            // Comments, which have no name, and what we do not know.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "retry: 1000\n: greeting\n\n:\n\nid: 7\r\ndata: {\"a\":\ndata: 1}\n\nevent: end\ndata:{}\n\nid: 9\ndata: cut";

    fn expected() -> [Message; 2] {
        [
            Message {
                id: Some(7),
                event: String::new(),
                data: "{\"a\": 1}".to_owned(),
            },
            Message {
                id: None,
                event: "end".to_owned(),
                data: "{}".to_owned(),
            },
        ]
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_come() {
        for size in [1, 2, 3, 7, TEXT.len()] {
            let mut stream = EventStream::default();
            let parts = TEXT.as_bytes().chunks(size);
            let messages: Vec<Message> =
                parts.flat_map(|part| stream.take(part).unwrap()).collect();
            assert_eq!(messages, expected(), "{size}");
        }
    }

    #[test]
    fn what_is_no_stream_of_messages_is_told_apart() {
        assert_eq!(EventStream::default().take(b"data: \xff\n"), None);
        let mut endless = EventStream::default();
        let part = [b'a'; 1 << 16];
        assert!((0..=MAX_MESSAGE_BYTES / part.len()).any(|_| endless.take(&part).is_none()));
    }
}
