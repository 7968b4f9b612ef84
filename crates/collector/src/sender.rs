//! Who sends a request: an address that is turned into a number at once, and that nothing keeps.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State as FromState};
use axum::middleware::Next;
use axum::response::Response;

use crate::limits::network;
use crate::problem::Problem;
use crate::settings::Sender;
use crate::state::State;

/// What stands for the sender's address; all senders are one where there is no address, as in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(pub(crate) u64);

/// Names the sender for the handlers, and refuses who asks too much.
pub(crate) async fn identify(
    FromState(state): FromState<State>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = Peer(address(&request, state.settings.sender).map_or(0, network));
    request.extensions_mut().insert(peer);
    let path = request.uri().path();
    // Posts of ratings have a limit of their own, by the rating.
    if path.starts_with("/v1/") && path != "/v1/ratings" {
        let limit = state.request_limit.take(peer, 1.0, state.clock.now_ms());
        limit.map_err(|seconds| Problem::too_many("too many requests from here", seconds))?;
    }
    Ok(next.run(request).await)
}

fn address(request: &Request, sender: Sender) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|it| it.0.ip());
    match sender {
        Sender::Peer => peer,
        Sender::Forwarded => {
            // Only the last entry is the proxy's own: who sends can write those before it.
            let header = request.headers().get_all("x-forwarded-for").iter().next_back();
            let last = header.and_then(|value| value.to_str().ok()?.rsplit(',').next());
            last.and_then(|text| text.trim().parse().ok()).or(peer)
        }
    }
}
