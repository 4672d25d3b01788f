//! Signatures of announcements: RSA with the padding of PKCS #1 v1.5, as uWSGI makes them of `DIGEST:KEY`.

use std::fmt;

use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::rand_core::OsRng;
use rsa::sha2::digest::Digest as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey, sha2};

/// What is made of the bytes before they are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    /// 160 bits; what uWSGI's documentation says.
    Sha1,
    /// 224 bits.
    Sha224,
    /// 256 bits.
    Sha256,
    /// 384 bits.
    Sha384,
    /// 512 bits.
    Sha512,
}

impl Digest {
    /// By the name that the option knows.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "SHA1" => Self::Sha1,
            "SHA224" => Self::Sha224,
            "SHA256" => Self::Sha256,
            "SHA384" => Self::Sha384,
            "SHA512" => Self::Sha512,
            _ => return None,
        })
    }

    fn of(self, bytes: &[u8]) -> (Pkcs1v15Sign, Vec<u8>) {
        match self {
            Self::Sha1 => (Pkcs1v15Sign::new::<sha1::Sha1>(), sha1::Sha1::digest(bytes).to_vec()),
            Self::Sha224 => (Pkcs1v15Sign::new::<sha2::Sha224>(), sha2::Sha224::digest(bytes).to_vec()),
            Self::Sha256 => (Pkcs1v15Sign::new::<sha2::Sha256>(), sha2::Sha256::digest(bytes).to_vec()),
            Self::Sha384 => (Pkcs1v15Sign::new::<sha2::Sha384>(), sha2::Sha384::digest(bytes).to_vec()),
            Self::Sha512 => (Pkcs1v15Sign::new::<sha2::Sha512>(), sha2::Sha512::digest(bytes).to_vec()),
        }
    }
}

/// With which an instance signs.
pub(super) struct PrivateKey {
    digest: Digest,
    key: RsaPrivateKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "PrivateKey({:?})", self.digest)
    }
}

impl PrivateKey {
    /// Reads it from the text of a file, of either kind that openssl writes.
    pub(super) fn parse(digest: Digest, pem: &str) -> Result<Self, &'static str> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem).ok().or_else(|| RsaPrivateKey::from_pkcs1_pem(pem).ok());
        let key = key.ok_or("is no private RSA key in PEM, or a key with a passphrase, or one above 4096 bits")?;
        Ok(Self { digest, key })
    }

    /// Signs. It fails where the key is too short for the digest.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (padding, digest) = self.digest.of(bytes);
        self.key.sign_with_rng(&mut OsRng, padding, &digest).map_err(|_| "the key can't sign: it is too short")
    }
}

/// With which a router checks.
pub(super) struct PublicKey(RsaPublicKey);

impl PublicKey {
    pub(super) fn parse(pem: &str) -> Result<Self, &'static str> {
        let key = RsaPublicKey::from_public_key_pem(pem).ok().or_else(|| RsaPublicKey::from_pkcs1_pem(pem).ok());
        key.map(Self).ok_or("is no public RSA key in PEM")
    }

    pub(super) fn verifies(&self, digest: Digest, bytes: &[u8], signature: &[u8]) -> bool {
        let (padding, digest) = digest.of(bytes);
        self.0.verify(padding, &digest, signature).is_ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey};
    use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let key = RsaPrivateKey::new(&mut OsRng, 1024).unwrap();
        let private = [key.to_pkcs8_pem(LineEnding::LF).unwrap(), key.to_pkcs1_pem(LineEnding::LF).unwrap()];
        let public = key.to_public_key();
        let public = [public.to_public_key_pem(LineEnding::LF).unwrap(), public.to_pkcs1_pem(LineEnding::LF).unwrap()];
        let other = RsaPrivateKey::new(&mut OsRng, 1024).unwrap().to_public_key();
        for (index, name) in ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"].into_iter().enumerate() {
            let digest = Digest::named(name).unwrap();
            let signature = PrivateKey::parse(digest, &private[index % 2]).unwrap().sign(b"bytes").unwrap();
            let public = PublicKey::parse(&public[index % 2]).unwrap();
            assert!(public.verifies(digest, b"bytes", &signature), "{name}");
            assert!(!public.verifies(digest, b"byte", &signature));
            assert!(!public.verifies(digest, b"bytes", &signature[1..]));
            assert!(!public.verifies(digest, b"bytes", b""));
            assert!(!PublicKey(other.clone()).verifies(digest, b"bytes", &signature));
        }
        assert_eq!(Digest::named("MD5"), None);
        assert!(PrivateKey::parse(Digest::Sha1, &public[0]).is_err() && PublicKey::parse("").is_err());
    }
}
