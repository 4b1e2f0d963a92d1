//! The handshake (RFC 6455 §4): an HTTP request, and an answer that switches protocols or says why
//! not.

use super::Options;
use crate::net::{self, Stream};
use emitwire_core::transport::{HandshakeError, Peer};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::Response as Answer;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{
    ErrorResponse, Request, Response, write_response,
};
use tokio_tungstenite::tungstenite::http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use tokio_tungstenite::tungstenite::http::{StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{accept_hdr_async_with_config, client_async_with_config};

/// A stream that speaks WebSocket from here on.
pub(super) struct Shaken {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// Frames that came together with the answer.
    pub(super) early: Vec<u8>,
}

/// The server's side: reads a request and answers it.
///
/// # Errors
/// Why it was refused; the peer was told.
pub(super) async fn answer(
    mut stream: Stream,
    peer: Peer,
    options: &Options,
) -> Result<Shaken, HandshakeError> {
    let mut verdict = None;
    let mut head = Head::new(&mut stream, options.head_bytes_max);
    #[allow(clippy::result_large_err, reason = "that is what tungstenite takes")]
    let judge = |request: &Request, mut response: Response| match judge(request, options) {
        Ok(()) => {
            verdict = Some(Ok(with_request(peer.clone(), request)));
            let ours = HeaderValue::from_static(SUB_PROTOCOL);
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, ours);
            Ok(response)
        }
        Err((status, asked)) => {
            let asked: String = asked.chars().take(ASKED_CHARS_MAX).collect();
            let refusal = refusal(status, &asked);
            verdict = Some(Err(asked));
            Err(refusal)
        }
    };
    let accepted = accept_hdr_async_with_config(&mut head, judge, Some(without_buffers())).await;
    let accepted = accepted.map(drop);
    let (is_too_large, is_tls) = (head.wanted_more, is_tls(&head.read));
    match (accepted, verdict) {
        (Ok(_), Some(Ok(peer))) => Ok(Shaken { stream, peer, early: Vec::new() }),
        (_, Some(Err(asked))) => {
            net::hang_up(&mut stream).await;
            Err(HandshakeError::NotOffered { asked })
        }
        (Ok(_), _) => Err(HandshakeError::Io { source: io::ErrorKind::InvalidData.into() }),
        (Err(error), _) => {
            if let Some(refusal) = refusal_of(&error, is_too_large) {
                // The request was refused whether or not the peer hears why.
                let _ = say(&mut stream, &refusal).await;
                net::hang_up(&mut stream).await;
            }
            Err(if is_tls { HandshakeError::Encrypted } else { failure(error) })
        }
    }
}

/// The client's side: sends a request and reads its answer.
///
/// # Errors
/// The server refused, or is none.
pub(super) async fn request(
    mut stream: Stream,
    peer: Peer,
    options: &Options,
) -> Result<Shaken, HandshakeError> {
    let request = client_request(options).map_err(failure)?;
    let mut head = Head::new(&mut stream, options.head_bytes_max);
    let answered = client_async_with_config(request, &mut head, Some(without_buffers())).await;
    let answered = answered.map(|(_, answer)| answer).map_err(failure);
    let is_tls = is_tls(&head.read);
    let answer =
        answered.map_err(|error| if is_tls { HandshakeError::Encrypted } else { error })?;
    // No extension was asked for (RFC 6455 §4.1), and one answer is enough (§11.3).
    let counts =
        [(SEC_WEBSOCKET_EXTENSIONS, 0), (SEC_WEBSOCKET_ACCEPT, 1), (SEC_WEBSOCKET_PROTOCOL, 1)];
    for (name, wanted) in counts {
        if count(answer.headers(), &name) != wanted {
            return Err(malformed(ProtocolError::InvalidHeader(name.into())));
        }
    }
    let early = match Answer::try_parse(&head.read) {
        Ok(Some((head_bytes, _))) => head.read.split_off(head_bytes),
        _ => Vec::new(),
    };
    Ok(Shaken { stream, peer, early })
}

fn client_request(options: &Options) -> Result<ClientRequest, Error> {
    let target = if options.target.is_empty() { "/" } else { &options.target };
    let uri: Uri = format!("ws://{}{target}", options.authority).parse()?;
    let mut request =
        ClientRequestBuilder::new(uri).with_sub_protocol(SUB_PROTOCOL).into_client_request()?;
    for (name, value) in &options.headers {
        let name = HeaderName::try_from(name.as_str())?;
        if is_own(&name) || name == HOST {
            return Err(ProtocolError::InvalidHeader(name.into()).into());
        }
        request.headers_mut().append(name, HeaderValue::try_from(value.as_str())?);
    }
    Ok(request)
}

/// Whether a header belongs to the handshake itself, and to nobody else.
fn is_own(name: &HeaderName) -> bool {
    [CONNECTION, UPGRADE].contains(name) || name.as_str().starts_with("sec-websocket-")
}

fn count(headers: &HeaderMap, name: &HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

type ClientRequest = tokio_tungstenite::tungstenite::handshake::client::Request;

/// Lets a request in, or says with which status not, and what it asked for.
fn judge(request: &Request, options: &Options) -> Result<(), (StatusCode, String)> {
    let headers = request.headers();
    // RFC 9112 §3.2, RFC 6455 §11.3: of two nobody can say which is meant.
    for (name, least) in
        [(HOST, 1), (SEC_WEBSOCKET_KEY, 1), (SEC_WEBSOCKET_VERSION, 1), (ORIGIN, 0)]
    {
        let count = count(headers, &name);
        if !(least..=1).contains(&count) {
            let asked = format!("something with {count} headers of the name {name}");
            return Err((StatusCode::BAD_REQUEST, asked));
        }
    }
    let path = options.target.split('?').next().unwrap_or("");
    if !matches!(path, "" | "/") && request.uri().path() != path {
        let path = request.uri().path();
        return Err((StatusCode::NOT_FOUND, format!("the path {path}")));
    }
    let host = headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    let host = host.unwrap_or_default();
    // A target may be a whole URL, and then its host is the one that is meant (RFC 9112 §3.2.2).
    if request.uri().authority().is_some_and(|meant| !meant.as_str().eq_ignore_ascii_case(&host)) {
        return Err((StatusCode::BAD_REQUEST, "two hosts at once".to_owned()));
    }
    // A WebSocket's request has no body, and two servers in a row must not disagree on that.
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return Err((StatusCode::BAD_REQUEST, "a request with a body".to_owned()));
    }
    let is_ours = || options.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(&host));
    if !options.hosts.is_empty() && !is_ours() {
        return Err((StatusCode::MISDIRECTED_REQUEST, format!("the host {host}")));
    }
    if let Some(origin) = headers.get(ORIGIN) {
        if !is_let_in(origin, &host, options) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            return Err((StatusCode::FORBIDDEN, format!("the origin {origin}")));
        }
    }
    if !offers_ours(headers) {
        let offered = headers.get(SEC_WEBSOCKET_PROTOCOL);
        let offered = offered.map_or("none".into(), |it| String::from_utf8_lossy(it.as_bytes()));
        let asked = format!("the sub-protocol {offered} instead of {SUB_PROTOCOL}");
        return Err((StatusCode::BAD_REQUEST, asked));
    }
    Ok(())
}

fn offers_ours(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offers = offers.filter_map(|offer| offer.to_str().ok());
    offers.any(|offers| offers.split(',').any(|offer| offer.trim() == SUB_PROTOCOL))
}

/// A page of the same host, or one on the list (RFC 6455 §10.2). What came in the clear anybody may
/// have made on its way, so that such a page is not of the host of an encrypted wire.
fn is_let_in(origin: &HeaderValue, host: &str, options: &Options) -> bool {
    let Ok(origin) = origin.to_str() else { return options.any_origin };
    let is_same_host = origin.split_once("://").is_some_and(|(scheme, page_host)| {
        let is_as_safe = !options.security.is_on() || scheme.eq_ignore_ascii_case("https");
        is_as_safe && page_host.eq_ignore_ascii_case(host)
    });
    let is_listed = || options.origins.iter().any(|listed| is_same_origin(listed, origin));
    options.any_origin || is_same_host || is_listed()
}

/// Whether a listed origin is this one; browsers send no slash and no usual port (RFC 6454 §6).
fn is_same_origin(listed: &str, origin: &str) -> bool {
    let listed = listed.trim_end_matches('/');
    let usual_port = if listed.starts_with("https:") { ":443" } else { ":80" };
    listed.strip_suffix(usual_port).unwrap_or(listed).eq_ignore_ascii_case(origin)
}

fn with_request(peer: Peer, request: &Request) -> Peer {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    // What no application asks for is not kept for as long as the connection lives.
    let headers = request.headers().iter().filter(|(name, _)| !is_own(name));
    let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), text(value))).collect();
    peer.request(target, headers.iter().map(|(name, value)| (*name, value.as_str())))
}

/// What a request that never came to be judged is told; nothing when nobody listens.
fn refusal_of(error: &Error, is_too_large: bool) -> Option<ErrorResponse> {
    let (status, asked) = match error {
        _ if is_too_large => too_large(),
        Error::AttackAttempt | Error::Capacity(_) => too_large(),
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::Io(_) => return None,
        Error::Protocol(ProtocolError::WrongHttpMethod) => {
            (StatusCode::METHOD_NOT_ALLOWED, "a method other than GET")
        }
        Error::Protocol(ProtocolError::WrongHttpVersion) => {
            (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "an older HTTP than 1.1")
        }
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => (StatusCode::UPGRADE_REQUIRED, "something else than a WebSocket"),
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            (StatusCode::UPGRADE_REQUIRED, "a WebSocket of another version than 13")
        }
        _ => (StatusCode::BAD_REQUEST, "something that is no request for a WebSocket"),
    };
    let mut refusal = refusal(status, asked);
    let headers = refusal.headers_mut();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 §15.5.6.
        headers.insert(ALLOW, HeaderValue::from_static("GET"));
    }
    if status == StatusCode::UPGRADE_REQUIRED {
        // RFC 9110 §7.8: the one does not stand without the other.
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade, close"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    Some(refusal)
}

fn too_large() -> (StatusCode, &'static str) {
    (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "more than a request may hold")
}

fn refusal(status: StatusCode, asked: &str) -> ErrorResponse {
    let body = format!("This is a WebSocket of emitwire. It was asked for {asked}.\n");
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = status;
    let headers = refusal.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *refusal.body_mut() = Some(body);
    refusal
}

async fn say(stream: &mut Stream, refusal: &ErrorResponse) -> io::Result<()> {
    let mut bytes = Vec::new();
    write_response(&mut bytes, refusal).map_err(io::Error::other)?;
    bytes.extend(refusal.body().iter().flat_map(|body| body.as_bytes()));
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Whether these are the first bytes of a record of TLS: an alert, or a handshake (RFC 8446 §5.1).
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [21 | 22, 3, ..])
}

fn failure(error: Error) -> HandshakeError {
    match error {
        #[cfg(feature = "tls")]
        Error::Io(source) => match crate::tls::alert_in(&source) {
            Some(refused) => refused,
            None => HandshakeError::Io { source },
        },
        #[cfg(not(feature = "tls"))]
        Error::Io(source) => HandshakeError::Io { source },
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::ConnectionClosed => {
            HandshakeError::Io { source: io::ErrorKind::UnexpectedEof.into() }
        }
        Error::Http(answer) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let body = &body[..body.len().min(REASON_BYTES_MAX)];
            let reason = String::from_utf8_lossy(body).trim().to_owned();
            HandshakeError::Refused { status: answer.status().as_u16(), reason }
        }
        error => malformed(error),
    }
}

fn malformed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HandshakeError {
    HandshakeError::Malformed { source: source.into() }
}

/// Tungstenite's connection is dropped after the handshake.
fn without_buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0)
}

/// A stream in its handshake: bounded, and it remembers what was read.
struct Head<'a> {
    stream: &'a mut Stream,
    read: Vec<u8>,
    bytes_max: usize,
    /// More than that was asked for.
    wanted_more: bool,
}

impl<'a> Head<'a> {
    fn new(stream: &'a mut Stream, bytes_max: usize) -> Self {
        Self { stream, read: Vec::new(), bytes_max, wanted_more: false }
    }
}

impl AsyncRead for Head<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let head = self.get_mut();
        if head.read.len() >= head.bytes_max {
            head.wanted_more = true;
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let mut within = room.take(head.bytes_max - head.read.len());
        ready!(Pin::new(&mut *head.stream).poll_read(cx, &mut within))?;
        let count = within.filled().len();
        head.read.extend_from_slice(within.filled());
        room.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Head<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_shutdown(cx)
    }
}

/// What both sides agree to speak inside of the WebSocket.
const SUB_PROTOCOL: &str = "emitwire.1";

/// How much of a refusal's text is kept.
const REASON_BYTES_MAX: usize = 512;

/// How much of a request is repeated when it is refused.
const ASKED_CHARS_MAX: usize = 512;
