//! The sockets: connections in, each with limits to its patience, until somebody says stop.
//!
//! Not `axum::serve`: that sets no limit to how slowly the head of a request may come.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::patient::Patient;

/// How patient a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Connections at once; more wait to be taken.
    pub connections: usize,
    /// How long the head of a request may take, also on a connection that rests.
    pub head: Duration,
    /// How long a reader may take nothing.
    pub write: Duration,
    /// How long requests may go on after a stop.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(30),
            write: Duration::from_secs(60),
            stop: Duration::from_secs(30),
        }
    }
}

/// Answers connections until `stop` comes; then finishes what was begun, and returns.
///
/// # Errors
/// The listener is broken.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    patience: Patience,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(patience.connections));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place.expect("the semaphore is never closed"), listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection { stream, peer, place };
                    connection.begin(&app, patience, &graceful);
                }
                // Of this connection, or all file handles are in use: others may go better.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    // Whoever is not done by then is cut off.
    drop(timeout(patience.stop, graceful.shutdown()).await);
    Ok(())
}

/// A connection that was taken.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
}

impl Connection {
    fn begin(self, app: &Router, patience: Patience, graceful: &GracefulShutdown) {
        let Self { stream, peer, place } = self;
        // Answers are short: waiting for more to send would only delay them.
        drop(stream.set_nodelay(true));
        let service =
            app.clone().map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request
            });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .serve_connection(
                TokioIo::new(Patient::new(stream, patience.write)),
                TowerToHyperService::new(service),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // What goes wrong on a connection is its other end's affair.
            drop(connection.await);
            drop(place);
        });
    }
}
