//! Who sent a request, and what they may do.

use tasker_runtime::settings::Scope;

use crate::rest::error::ApiError;

/// The holder of a key or token, or everyone on a server without keys.
#[derive(Debug)]
pub(crate) struct Principal {
    /// The name for the history and the log, such as `key:shop` or `token:alice`. None: everyone.
    name: Option<String>,
    scopes: Vec<Scope>,
    /// None: every namespace.
    namespaces: Option<Vec<String>>,
}

impl Principal {
    /// The callers of a server without keys: they may do everything.
    pub(super) fn everyone() -> Self {
        Self { name: None, scopes: vec![Scope::Read, Scope::Submit, Scope::Operate], namespaces: None }
    }

    /// The holder of the API key with this name.
    pub(super) fn of_key(name: &str, scopes: Vec<Scope>, namespaces: Option<Vec<String>>) -> Self {
        Self { name: Some(format!("key:{name}")), scopes, namespaces }
    }

    /// The holder of a token with this subject.
    pub(super) fn of_token(subject: Option<&str>, scopes: Vec<Scope>, namespaces: Option<Vec<String>>) -> Self {
        let name = match subject {
            None => "token".to_owned(),
            // Quotes keep a subject from looking like another principal.
            Some(subject) if subject.contains(|c: char| c.is_whitespace() || c.is_control() || "()\"".contains(c)) => {
                format!("token:{subject:?}")
            }
            Some(subject) => format!("token:{subject}"),
        };
        Self { name: Some(name), scopes, namespaces }
    }

    /// The name for the history and the log. None on a server without keys.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The scopes of this caller.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The namespaces that this caller may use. None: every namespace.
    pub(crate) fn namespaces(&self) -> Option<&[String]> {
        self.namespaces.as_deref()
    }

    pub(super) fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether there are namespaces that this caller may not use.
    pub(crate) fn is_restricted(&self) -> bool {
        self.namespaces.is_some()
    }

    /// Whether this caller may use the namespace.
    pub(crate) fn covers(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| name == namespace))
    }

    /// Refuses a request that names a namespace which this caller may not use.
    pub(crate) fn require_namespace(&self, namespace: &str) -> Result<(), ApiError> {
        if self.covers(namespace) {
            return Ok(());
        }
        Err(ApiError::namespace_denied(format!("the key or token does not cover the namespace '{namespace}'")))
    }

    /// Refuses a request for `what`, which shows every namespace, to a caller that may not use every one.
    pub(crate) fn require_every_namespace(&self, what: &str) -> Result<(), ApiError> {
        if !self.is_restricted() {
            return Ok(());
        }
        Err(ApiError::namespace_denied(format!(
            "{what} cover every namespace, but the key or token is bound to some namespaces"
        )))
    }

    /// The namespaces of a list: the one that the request names, or those that this caller may use. None: every
    /// namespace.
    pub(crate) fn namespaces_to_list(&self, named: Option<String>) -> Result<Option<Vec<String>>, ApiError> {
        match named {
            None => Ok(self.namespaces.clone()),
            Some(namespace) => self.require_namespace(&namespace).map(|()| Some(vec![namespace])),
        }
    }

    /// The actor of an operator's action: this caller, followed by the name that the request gives, in parentheses. On
    /// a server without keys it is the given name alone.
    pub(crate) fn actor(&self, given: Option<&str>) -> Option<String> {
        match (&self.name, given.filter(|given| !given.is_empty())) {
            (None, given) => given.map(str::to_owned),
            (Some(name), None) => Some(name.clone()),
            (Some(name), Some(given)) => Some(format!("{name} ({given})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_name_the_principal_first() {
        let everyone = Principal::everyone();
        assert_eq!(everyone.actor(None), None);
        assert_eq!(everyone.actor(Some("alice")).as_deref(), Some("alice"));
        let key = Principal::of_key("on-call", vec![], None);
        assert_eq!(key.actor(None).as_deref(), Some("key:on-call"));
        assert_eq!(key.actor(Some("")).as_deref(), Some("key:on-call"));
        assert_eq!(key.actor(Some("alice")).as_deref(), Some("key:on-call (alice)"));
    }

    #[test]
    fn subjects_cannot_imitate_another_principal() {
        let actor = |subject| Principal::of_token(subject, vec![], None).actor(Some("x"));
        assert_eq!(actor(None).as_deref(), Some("token (x)"));
        assert_eq!(actor(Some("auth0|7")).as_deref(), Some("token:auth0|7 (x)"));
        assert_eq!(actor(Some("bob (x)")).as_deref(), Some(r#"token:"bob (x)" (x)"#));
        assert_eq!(actor(Some("\"bob\"")).as_deref(), Some(r#"token:"\"bob\"" (x)"#));
        assert_eq!(actor(Some("a\0b")).as_deref(), Some(r#"token:"a\0b" (x)"#));
    }
}
