//! Tokens: JSON Web Tokens (RFC 7519) signed with RS256.
//!
//! There is one algorithm and one key, so there is nothing for a token to choose: its header must say RS256. The signature is
//! checked by the library that checks certificates, which is in every server anyway; a general JWT library would bring the
//! algorithms, and the choice between them, that must not be.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tasker_runtime::settings::Scope;
use webpki::RawPublicKeyEntity;
use webpki::ring::RSA_PKCS1_2048_8192_SHA256;

/// The length of the shortest key of 2,048 bits in DER, in bytes.
const SHORTEST_KEY: usize = 292;

/// Why a public key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// It is not a public key in PEM.
    #[error("it is not PEM text with `BEGIN PUBLIC KEY`; `openssl rsa -in private.pem -pubout` makes it")]
    NotPem,
    /// It is not an RSA key, or a short one.
    #[error("it is not an RSA key of 2048 to 8192 bits")]
    NotRsa,
}

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct Verifier {
    key: SubjectPublicKeyInfoDer<'static>,
    issuer: Option<String>,
    audience: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood. None is.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Verifier {
    /// A verifier with this public key (PEM). Where issuer and audience are not empty, tokens must be of and for them.
    pub(super) fn new(pem: &str, issuer: &str, audience: &str) -> Result<Self, BadKey> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadKey::NotPem)?;
        let entity = RawPublicKeyEntity::try_from(&key).map_err(|_| BadKey::NotPem)?;
        // A key of another kind is told by what it says of a signature that is wrong anyway.
        let refusal = entity.verify_signature(RSA_PKCS1_2048_8192_SHA256, &[], &[0; 256]);
        if refusal != Err(webpki::Error::InvalidSignatureForPublicKey) || key.len() < SHORTEST_KEY {
            return Err(BadKey::NotRsa);
        }
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Ok(Self { key, issuer: given(issuer), audience: given(audience) })
    }

    /// What the holder of the token may do, if it is valid at this time; else why not.
    pub(super) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Vec<Scope>, &'static str> {
        let mut parts = token.rsplitn(2, '.');
        let (Some(signature), Some(signed)) = (parts.next(), parts.next()) else {
            return Err(MALFORMED);
        };
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        let header: Header = decode(header)?;
        if header.alg != "RS256" || header.crit.is_some() {
            return Err("the token must be signed with RS256, and have no critical extensions");
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
        RawPublicKeyEntity::try_from(&self.key)
            .and_then(|key| key.verify_signature(RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature))
            .map_err(|_| "the token is not signed with the key that this server knows")?;

        let claims: Claims = decode(claims)?;
        let now = now.timestamp_millis() as f64 / 1e3;
        if claims.exp <= now {
            return Err("the token has expired");
        }
        if claims.nbf.is_some_and(|begin| begin > now) {
            return Err("the token is not valid yet");
        }
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err("the token is of another issuer");
        }
        if let Some(wanted) = &self.audience {
            let meant = match &claims.aud {
                Some(Audience::One(given)) => given == wanted,
                Some(Audience::Several(given)) => given.contains(wanted),
                None => false,
            };
            if !meant {
                return Err("the token is for another audience");
            }
        }
        Ok(claims.scope.split(' ').filter_map(scope).collect())
    }
}

const MALFORMED: &str = "the token is not a JWT with the claim exp";

/// Other scopes are of no interest here: a token may be for several services.
fn scope(name: &str) -> Option<Scope> {
    match name {
        "read" => Some(Scope::Read),
        "submit" => Some(Scope::Submit),
        "operate" => Some(Scope::Operate),
        _ => None,
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, &'static str> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
    serde_json::from_slice(&json).map_err(|_| MALFORMED)
}
