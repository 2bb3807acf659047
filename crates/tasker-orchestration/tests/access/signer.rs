//! An issuer of tokens: it generates an RSA key, and signs valid and invalid tokens.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use num_bigint::BigUint;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// An RSA key.
pub(crate) struct Signer {
    modulus: BigUint,
    private: BigUint,
    bits: u32,
}

const EXPONENT: u32 = 65_537;

impl Signer {
    /// A new key of 2,048 bits.
    pub(crate) fn new() -> Result<Self> {
        Self::with_bits(2_048)
    }

    pub(crate) fn with_bits(bits: u32) -> Result<Self> {
        let one = BigUint::from(1u32);
        let (p, q) = (prime(bits / 2), prime(bits / 2));
        let private =
            BigUint::from(EXPONENT).modinv(&((&p - &one) * (&q - &one))).context("a factor of the exponent")?;
        Ok(Self { modulus: p * q, private, bits })
    }

    /// The public key, as `openssl rsa -pubout` prints it.
    pub(crate) fn public_pem(&self) -> String {
        let key = der(0x30, &[integer(&self.modulus), integer(&EXPONENT.into())].concat());
        let rsa_encryption = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        let text =
            STANDARD.encode(der(0x30, &[der(0x30, &rsa_encryption), der(0x03, &[&[0], &key[..]].concat())].concat()));
        let lines: String =
            text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{lines}-----END PUBLIC KEY-----\n")
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": "RS256", "typ": "JWT" }), claims)
    }

    /// A token with this header, signed with RS256 even if the header names another algorithm.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = signed(header, claims);
        // RFC 8017, section 9.2: EMSA-PKCS1-v1_5.
        let digest_info =
            [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 4, 32];
        let tail = [&digest_info[..], &Sha256::digest(&signed)].concat();
        let length = self.bits as usize / 8;
        let padding = vec![0xff; length - tail.len() - 3];
        let message = [&[0, 1], &padding[..], &[0], &tail].concat();
        let signature = BigUint::from_bytes_be(&message).modpow(&self.private, &self.modulus).to_bytes_be();
        let signature = [vec![0; length - signature.len()], signature].concat();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token with an empty signature.
pub(crate) fn unsigned(algorithm: &str, claims: &Value) -> String {
    format!("{}.", signed(&json!({ "alg": algorithm }), claims))
}

/// A token signed with HS256 and this secret.
pub(crate) fn hmac_token(secret: &[u8], claims: &Value) -> String {
    let signed = signed(&json!({ "alg": "HS256", "typ": "JWT" }), claims);
    // RFC 2104.
    let mut key = if secret.len() > 64 { Sha256::digest(secret).to_vec() } else { secret.to_vec() };
    key.resize(64, 0);
    let masked = |mask: u8| key.iter().map(|byte| byte ^ mask).collect::<Vec<_>>();
    let inner = Sha256::digest([&masked(0x36)[..], signed.as_bytes()].concat());
    let signature = Sha256::digest([&masked(0x5c)[..], &inner].concat());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A random prime. Its two highest bits are set, so the product of two such primes has the full number of bits.
fn prime(bits: u32) -> BigUint {
    let two = BigUint::from(2u32);
    loop {
        let mut bytes = Vec::new();
        while bytes.len() < bits as usize / 8 {
            bytes.extend_from_slice(&Sha256::digest(Uuid::new_v4()));
        }
        bytes.truncate(bits as usize / 8);
        bytes[0] |= 0xc0;
        if let Some(last) = bytes.last_mut() {
            *last |= 1;
        }
        let mut candidate = BigUint::from_bytes_be(&bytes);
        // Fermat's test is enough for random numbers of this size.
        for _ in 0..bits {
            let divisible = (3u32..2_000).step_by(2).any(|small| (&candidate % small) == BigUint::ZERO);
            if !divisible && two.modpow(&(&candidate - 1u32), &candidate) == BigUint::from(1u32) {
                return candidate;
            }
            candidate += 2u32;
        }
    }
}

/// An ASN.1 value in DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let head = if length < 0x80 {
        vec![tag, length as u8]
    } else {
        [&[tag, 0x80 | significant.len() as u8], significant].concat()
    };
    [&head[..], content].concat()
}

fn integer(value: &BigUint) -> Vec<u8> {
    der(0x02, &[&[0], &value.to_bytes_be()[..]].concat()[usize::from(value.to_bytes_be()[0] < 0x80)..])
}
