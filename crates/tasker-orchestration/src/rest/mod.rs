//! The REST API: one file per resource.

pub(crate) mod access;
mod error;
mod extract;
mod observe;
mod system;
mod tasks;
mod templates;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::error::ApiError;
use crate::server::State;

#[derive(OpenApi)]
#[openapi(info(
    title = "Tasker",
    description = "Durable workflow orchestration on PostgreSQL. Errors are problem documents (RFC 9457).",
    license(name = "MIT")
))]
struct Document;

fn routes() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tasks::create, tasks::list))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::steps))
        .routes(routes!(tasks::transitions))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::fail))
        .routes(routes!(tasks::retry))
        .routes(routes!(tasks::retry_step))
        .routes(routes!(tasks::resolve_step))
        .routes(routes!(templates::apply, templates::list))
        .routes(routes!(templates::get))
        .routes(routes!(workers::list))
        .routes(routes!(system::namespaces))
        .routes(routes!(system::info))
        .routes(routes!(system::health))
        .routes(routes!(system::live))
        .routes(routes!(system::ready))
        .routes(routes!(system::metrics))
}

/// The API's description.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    document.info.version = tasker_api::VERSION.to_owned();
    access::describe(&mut document);
    document
}

/// All routes with what surrounds them.
pub(crate) fn router(state: Arc<State>) -> Router {
    let (router, _) = routes().split_for_parts();
    let document = openapi();
    router
        .route("/openapi.json", axum::routing::get(async move || axum::Json(document)))
        .fallback(async |uri: axum::http::Uri| ApiError::no_such_path(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: axum::http::Uri| {
            ApiError::wrong_method(&method, uri.path())
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), access::guard))
        .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(ApiError::internal())))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), observe::observe))
        .with_state(state)
}
