//! The web console: a page in four files, which the program contains. The files hold no data, so everyone may read
//! them. The page asks the API with the caller's key.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::state::State;

/// What the page may do: run its own script and style, show its own pictures, and talk to this server. Nothing else, so
/// that a text in a task can never become a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

#[derive(Clone, Copy)]
struct File {
    path: &'static str,
    media_type: &'static str,
    content: &'static [u8],
}

/// The files. `ui/` holds their sources.
const FILES: [File; 4] = [
    File { path: "/", media_type: "text/html; charset=utf-8", content: include_bytes!("../../ui/index.html") },
    File { path: "/app.js", media_type: "text/javascript; charset=utf-8", content: include_bytes!("../../ui/app.js") },
    File { path: "/app.css", media_type: "text/css; charset=utf-8", content: include_bytes!("../../ui/app.css") },
    File { path: "/icon.svg", media_type: "image/svg+xml", content: include_bytes!("../../ui/icon.svg") },
];

/// Whether the path is one of the files.
pub(super) fn is_file(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// Adds a route for each file.
pub(super) fn add(router: Router<Arc<State>>) -> Router<Arc<State>> {
    FILES.into_iter().fold(router, |router, file| {
        let tag = format!("\"{}\"", hex(&Sha256::digest(file.content)[..16]));
        let handler = move |headers: HeaderMap| std::future::ready(respond(&file, &tag, &headers));
        router.route(file.path, get(handler))
    })
}

fn respond(file: &File, tag: &str, request: &HeaderMap) -> Response {
    let known = request.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let is_known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { file.content.into_response() };
    let fixed = [
        (header::CONTENT_TYPE, file.media_type),
        // The names stay when the content changes, so a browser asks each time, and mostly gets 304.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers = response.headers_mut();
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    // Hexadecimal digits in quotes are always a valid value.
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
