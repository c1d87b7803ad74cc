//! A transport: how a signed webhook leaves the host. To be copied by who needs another than
//! `tillite::transport::UreqTransport`, which judges addresses as well and speaks https.

use std::io::{self, Read as _};
use std::sync::LazyLock;

use tillite::{Answered, SignedRequest, TransportOutcome};
use ureq::Agent;

/// Every status is an answer, no redirect is followed, and no proxy is taken from the environment.
static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None);
    config.build().new_agent()
});

/// Sends one webhook. A function of this shape is a `Transport`.
pub(crate) fn send(request: &SignedRequest) -> TransportOutcome {
    match post(request) {
        Ok(answer) => TransportOutcome::Answered(answer),
        Err(error) => TransportOutcome::Failed { why: error.to_string() },
    }
}

fn post(request: &SignedRequest) -> Result<Answered, ureq::Error> {
    // One deadline covers everything from the name to the last byte of the answer.
    let timeout = Some(request.timeout);
    let mut post = AGENT.post(&request.url).config().timeout_global(timeout).build();
    for (name, value) in &request.headers {
        post = post.header(*name, value);
    }
    // The bytes as they are: the signature is over them.
    let mut reply = post.send(&request.body[..])?;
    let mut answer = Answered::status(reply.status().as_u16());
    if let Some(value) = reply.headers().get("retry-after").and_then(|value| value.to_str().ok()) {
        answer = answer.retry_after(value);
    }
    // The status decides. The body is for the log: it is read as far as the engine keeps it, and if it
    // breaks off, the receiver has said all the same what it made of the webhook.
    let mut body = Vec::new();
    let kept = reply.body_mut().as_reader().take(Answered::MAX_BODY as u64);
    let _: io::Result<usize> = io::BufReader::new(kept).read_to_end(&mut body);
    Ok(answer.body(body))
}
