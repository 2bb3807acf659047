//! Tokens: JSON Web Tokens (RFC 7519) signed with RS256.
//!
//! `jsonwebtoken` reads the tokens and checks their claims. Its own cryptography is left out: `webpki`, which verifies
//! certificates in every server anyway, verifies the signatures.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{self, ErrorKind};
use jsonwebtoken::signature::{self, Verifier as SignatureVerifier};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer};
use tasker_api::limits::MAX_ACTOR_CHARS;
use tasker_runtime::settings::Scope;
use webpki::RawPublicKeyEntity;
use webpki::ring::RSA_PKCS1_2048_8192_SHA256;

use super::principal::Principal;

/// The length of the shortest key of 2,048 bits in DER, in bytes.
const SHORTEST_KEY: usize = 292;

/// Why a public key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// It is not a public key in PEM.
    #[error("it is not PEM text with `BEGIN PUBLIC KEY`; `openssl rsa -in private.pem -pubout` prints such a key")]
    NotPem,
    /// It is not an RSA key, or it is too short or too long.
    #[error("it is not an RSA key of 2048 to 8192 bits")]
    NotRsa,
}

/// Verifies tokens.
pub(super) struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("validation", &self.validation).finish_non_exhaustive()
    }
}

/// The claims that say who the holder is, and what the holder may do.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    #[serde(default)]
    scope: String,
    /// None if the claim is absent. Null is an error, because it must not open every namespace.
    #[serde(default, deserialize_with = "not_null")]
    namespaces: Option<Vec<String>>,
}

fn not_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

impl Verifier {
    /// Creates a verifier with this public key (PEM). If `issuer` or `audience` is not empty, tokens must have that
    /// value.
    pub(super) fn new(pem: &str, issuer: &str, audience: &str) -> Result<Self, BadKey> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadKey::NotPem)?;
        let entity = RawPublicKeyEntity::try_from(&key).map_err(|_| BadKey::NotPem)?;
        // A wrong signature fails in any case; the error tells whether the key fits the algorithm.
        let refusal = entity.verify_signature(RSA_PKCS1_2048_8192_SHA256, &[], &[0; 256]);
        if refusal != Err(webpki::Error::InvalidSignatureForPublicKey) || key.len() < SHORTEST_KEY {
            return Err(BadKey::NotRsa);
        }
        // The provider belongs to the process. It fails to install only if an earlier server of this process did so.
        let _ = CRYPTO.install_default();

        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        if !issuer.is_empty() {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        // Without this, `jsonwebtoken` refuses every token that names an audience.
        validation.validate_aud = !audience.is_empty();
        if validation.validate_aud {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        Ok(Self { key: DecodingKey::from_rsa_der(&key), validation })
    }

    /// Returns the holder of the token, or why the token is not valid.
    pub(super) fn verify(&self, token: &str) -> Result<Principal, &'static str> {
        let header =
            jsonwebtoken::decode_header(token).map_err(|_| "the token is not a JWT, or it is not signed with RS256")?;
        if header.crit.is_some() {
            return Err("the token has critical extensions, which this server does not support");
        }
        let token =
            jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).map_err(|error| reason(error.kind()))?;
        let Claims { sub, scope, namespaces } = token.claims;
        if sub.as_ref().is_some_and(|subject| subject.chars().count() > MAX_ACTOR_CHARS) {
            return Err("the claim sub of the token is longer than 255 characters");
        }
        let scopes = scope.split(' ').filter_map(named_scope).collect();
        Ok(Principal::of_token(sub.as_deref(), scopes, namespaces))
    }
}

fn reason(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::InvalidAlgorithm => "the token is not signed with RS256",
        ErrorKind::InvalidSignature => "the token is not signed with the key that this server knows",
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => "the token does not name its issuer in the claim iss",
            "aud" => "the token does not name its audience in the claim aud",
            _ => "the token does not say in the claim exp, as a number, when it expires",
        },
        ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => "a claim of the token has the wrong type",
        _ => "the token is not a JWT",
    }
}

/// Reads the name of a scope. A token may also carry scopes of other services; they are ignored.
fn named_scope(name: &str) -> Option<Scope> {
    match name {
        "read" => Some(Scope::Read),
        "submit" => Some(Scope::Submit),
        "operate" => Some(Scope::Operate),
        _ => None,
    }
}

/// Verifies RS256, and does nothing else.
static CRYPTO: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::RS256 => Ok(Box::new(Rs256::new(key)?)),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
    // Only JSON Web Keys need these functions; nothing here uses such keys.
    key_utils: KeyUtils::new_unimplemented(),
};

/// An RSA public key that verifies signatures. [`Verifier::new`] has checked that it is one.
struct Rs256(SubjectPublicKeyInfoDer<'static>);

impl Rs256 {
    fn new(key: &DecodingKey) -> errors::Result<Self> {
        Ok(Self(key.try_get_as_bytes()?.to_vec().into()))
    }
}

impl SignatureVerifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        RawPublicKeyEntity::try_from(&self.0)
            .and_then(|key| key.verify_signature(RSA_PKCS1_2048_8192_SHA256, message, signature))
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}
