//! The REST API, with one file for each resource.

pub(crate) mod access;
pub(crate) mod bodies;
mod bulk;
mod conditions;
mod console;
mod dead_letters;
mod error;
mod events;
mod extract;
mod gates;
mod inspect;
mod namespaces;
mod observe;
mod openapi;
mod origin;
mod schedules;
mod signals;
pub(crate) mod state;
mod stats;
mod system;
mod tasks;
mod templates;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::error::ApiError;
use self::origin::Origins;
use self::state::State;

#[derive(OpenApi)]
#[openapi(info(
    title = "Tasker",
    description = "Durable workflow orchestration on PostgreSQL. Errors are problem documents (RFC 9457).",
    license(name = "MIT")
))]
struct Document;

fn routes() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tasks::create::create, tasks::list::list))
        .routes(routes!(tasks::show::get))
        .routes(routes!(tasks::show::steps))
        .routes(routes!(tasks::show::transitions))
        .routes(routes!(inspect::attempts))
        .routes(routes!(inspect::step))
        .routes(routes!(tasks::rerun::rerun))
        .routes(routes!(tasks::act::cancel))
        .routes(routes!(tasks::act::fail))
        .routes(routes!(tasks::act::retry))
        .routes(routes!(tasks::rerun::fork))
        .routes(routes!(signals::send))
        .routes(routes!(tasks::act::retry_step))
        .routes(routes!(tasks::act::resolve_step))
        .routes(routes!(templates::apply, templates::list))
        .routes(routes!(templates::get))
        .routes(routes!(templates::layout))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::put, schedules::get, schedules::delete))
        .routes(routes!(schedules::trigger))
        .routes(routes!(gates::list))
        .routes(routes!(gates::get, gates::patch))
        .routes(routes!(dead_letters::list, dead_letters::open))
        .routes(routes!(dead_letters::get, dead_letters::patch))
        .routes(routes!(bulk::create, bulk::list))
        .routes(routes!(bulk::get))
        .routes(routes!(bulk::stop))
        .routes(routes!(workers::list))
        .routes(routes!(stats::stats))
        .routes(routes!(events::events))
        .routes(routes!(namespaces::list))
        .routes(routes!(namespaces::patch))
        .routes(routes!(namespaces::events))
        .routes(routes!(system::whoami))
        .routes(routes!(system::info))
        .routes(routes!(system::health))
        .routes(routes!(system::live))
        .routes(routes!(system::ready))
        .routes(routes!(system::metrics))
}

/// The description of the API (OpenAPI) of a server that has keys.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    document.info.version = tasker_api::VERSION.to_owned();
    access::describe(&mut document);
    openapi::complete(&mut document);
    document
}

/// Returns all routes, with the layers around them.
///
/// # Errors
/// When the description of the API cannot be written as JSON.
pub(crate) fn router(state: Arc<State>) -> serde_json::Result<Router> {
    let (router, _) = routes().split_for_parts();
    let mut document = openapi();
    if state.access.is_open() {
        document.security = None;
    }
    // As text that all requests share: the router is cloned, and the document is large.
    let document = Bytes::from(serde_json::to_vec(&document)?);
    let origins =
        Arc::new(Origins { allowed_hosts: state.settings.allowed_hosts.clone(), keys: !state.access.is_open() });
    let router = if state.settings.console { console::add(router) } else { router };
    Ok(router
        .route(
            "/openapi.json",
            axum::routing::get(async move || ([(header::CONTENT_TYPE, "application/json")], document)),
        )
        .fallback(async |uri: axum::http::Uri| ApiError::no_such_path(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: axum::http::Uri| {
            ApiError::wrong_method(&method, uri.path())
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), access::guard))
        .layer(middleware::from_fn_with_state(origins, origin::guard))
        .layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response()))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), observe::observe))
        .with_state(state))
}

/// Removes the entry beyond a page, if there is one, and returns the last entry of the page.
fn last_of_page<T>(entries: &mut Vec<T>, limit: Option<u32>) -> Option<&T> {
    let size = usize::try_from(limit?).unwrap_or(usize::MAX);
    if entries.len() <= size {
        return None;
    }
    entries.truncate(size);
    entries.last()
}

/// The response to all requests but health checks while every connection is in use.
pub(crate) fn too_many_connections() -> Response {
    ApiError::too_many_connections().into_response()
}
