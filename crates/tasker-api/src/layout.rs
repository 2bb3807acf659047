//! The layout of a template's graph: where each step is drawn.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The response to `GET /v1/templates/{namespace}/{name}/layout`. Columns go from left to right in the direction of
/// the work, rows from top to bottom. The units are nodes, so a picture multiplies them by its own sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplateLayout {
    /// The template's namespace.
    pub namespace: String,
    /// The template's name.
    pub name: String,
    /// The template's version.
    pub version: String,
    /// The graph.
    #[serde(flatten)]
    pub graph: GraphLayout,
}

/// A drawn graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GraphLayout {
    /// How many columns there are.
    pub columns: u32,
    /// How many rows there are.
    pub rows: u32,
    /// The nodes.
    pub nodes: Vec<LayoutNode>,
    /// The edges.
    pub edges: Vec<LayoutEdge>,
}

/// A step, or several steps that do the same between the same other steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayoutNode {
    /// Its number, from 0.
    pub id: u32,
    /// The names of its steps.
    pub steps: Vec<String>,
    /// The handler of its steps. Empty if they have none.
    pub callable: String,
    /// The template whose task runs for each of its steps, in place of a handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Its place.
    #[serde(flatten)]
    pub at: Place,
}

/// An edge: the steps of `to` depend on the steps of `from`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayoutEdge {
    /// The `id` of the node that comes first.
    pub from: u32,
    /// The `id` of the node that depends on it.
    pub to: u32,
    /// The places between the two through which the edge passes, so that it crosses no node.
    pub bends: Vec<Place>,
}

/// A place in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// The column, from 0.
    pub column: u32,
    /// The row, from 0. Fractions are allowed.
    pub row: f64,
}
