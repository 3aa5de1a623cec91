//! The boundary to the network: a request goes out, an answer comes back, its body in pieces.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{Stream, StreamExt};
use http::{Request, Response};
use tokio::time::timeout;

/// The body of an answer, piece by piece as it comes.
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Sends requests to the issuer. [`Client`](crate::Client) is the one over the network; a test has its own.
///
/// It follows no redirects and sets no limits: times and sizes are bounded where it is used.
pub trait Http: Send + Sync + 'static {
    /// Sends a request to the absolute URL in it; gives the answer when its head has come.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, io::Result<Response<Chunks>>>;
}

/// The whole body of an answer, as long as it is not longer than `most` bytes.
async fn collect(mut chunks: Chunks, most: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if body.len().saturating_add(chunk.len()) > most {
            let message = format!("the answer is longer than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What bounds one exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From sending to the last byte.
    pub(crate) time: Duration,
    /// The body of the answer.
    pub(crate) bytes: usize,
}

/// Sends a request and takes the whole answer.
pub(crate) async fn exchange(
    http: &dyn Http,
    request: Request<Bytes>,
    bounds: Bounds,
) -> io::Result<Response<Vec<u8>>> {
    let whole = async {
        let (head, body) = http.send(request).await?.into_parts();
        Ok(Response::from_parts(
            head,
            collect(body, bounds.bytes).await?,
        ))
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "there was no answer in time");
    timeout(bounds.time, whole).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(parts: &'static [&'static str]) -> Chunks {
        Box::pin(stream::iter(
            parts
                .iter()
                .map(|part| Ok(Bytes::from_static(part.as_bytes()))),
        ))
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit() {
        assert_eq!(collect(chunks(&["ab", "c"]), 3).await.unwrap(), b"abc");
        let error = collect(chunks(&["ab", "cd"]), 3).await.unwrap_err();
        assert!(error.to_string().contains("longer than 3 bytes"));
    }
}
