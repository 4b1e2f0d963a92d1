//! Endpoints of every wire that is compiled in, for both ends, also in two processes.

#[cfg(feature = "self-signed")]
use emitwire::Tls;
use emitwire::{Endpoint, schemes};
#[cfg(feature = "self-signed")]
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name in memory that no other test of this process has.
pub(crate) fn fresh_mem() -> String {
    format!("mem://{}-{}", env!("CARGO_CRATE_NAME"), next())
}

/// A URL of this wire to listen at, that nobody else has.
pub(crate) fn fresh(scheme: &str) -> String {
    match scheme {
        "mem" => fresh_mem(),
        "unix" => {
            let folder = std::env::temp_dir();
            let name = format!("{}-{}-{}", env!("CARGO_CRATE_NAME"), std::process::id(), next());
            format!("unix://{}/{name}.sock", folder.display())
        }
        scheme => format!("{scheme}://127.0.0.1:0"),
    }
}

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One such URL for each wire.
pub(crate) fn all_wires() -> Vec<String> {
    wires().into_iter().map(fresh).collect()
}

/// The wires that both ends can be of here: encrypted ones need a certificate.
pub(crate) fn wires() -> Vec<&'static str> {
    let has_certificate = cfg!(feature = "self-signed");
    schemes().filter(|scheme| has_certificate || !needs_certificate(scheme)).collect()
}

/// The endpoint of a URL, for a listener and for its clients.
pub(crate) fn endpoint(url: &str) -> Endpoint {
    let endpoint = Endpoint::new(url).unwrap();
    let scheme = url.split("://").next().unwrap_or_default();
    if needs_certificate(scheme) { secured(endpoint) } else { endpoint }
}

fn needs_certificate(scheme: &str) -> bool {
    ["tls", "wss", "quic"].contains(&scheme)
}

/// Both ends share a certificate; a process that was told another's trusts that one.
#[cfg(feature = "self-signed")]
static TLS: LazyLock<Tls> = LazyLock::new(|| {
    let tls = Tls::self_signed().unwrap();
    let pinned = std::env::var(PIN).unwrap_or_else(|_| tls.fingerprint().unwrap());
    tls.pin(pinned).unwrap()
});

#[cfg(feature = "self-signed")]
fn secured(endpoint: Endpoint) -> Endpoint {
    endpoint.tls(TLS.clone()).unwrap()
}

#[cfg(not(feature = "self-signed"))]
fn secured(endpoint: Endpoint) -> Endpoint {
    endpoint
}

/// What another process is to have in its environment, so that it trusts this one.
pub(crate) fn trust() -> Option<(&'static str, String)> {
    #[cfg(feature = "self-signed")]
    return Some((PIN, TLS.fingerprint().unwrap()));
    #[cfg(not(feature = "self-signed"))]
    None
}

/// Where a process finds the fingerprint of another's certificate.
#[cfg(feature = "self-signed")]
const PIN: &str = "EMITWIRE_TEST_PIN";
