//! What a password opens (PKCS#5, RFC 8018, and PKCS#12, RFC 7292, appendix B): an algorithm with its parameters and the
//! encrypted bytes go in, the bytes come out.
//!
//! The schemes that today's tools write (PBES2 with AES) and those of the older ones (SHA-1 with triple DES or RC2), which
//! Windows and key stores still hand out.

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm as Cipher, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, pbkdf2};
use des::TdesEde3;
use des::cipher::{Array, BlockCipherDecrypt, KeyInit, consts::U8};
use rc2::Rc2;
use zeroize::Zeroizing;

use super::der::{Reader, tag};

/// More rounds than anybody's tool writes: a file must not keep the process busy for minutes.
const MOST_ROUNDS: u32 = 5_000_000;

// Object ids (RFC 8018, RFC 7292, RFC 9879), their content.
const PBES2: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x05\x0D";
const PBKDF2: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x05\x0C";
const SHA_3DES: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x0C\x01\x03";
const SHA_RC2_128: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x0C\x01\x05";
const SHA_RC2_40: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x0C\x01\x06";
const DES_EDE3_CBC: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x03\x07";
const AES_128_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x02";
const AES_192_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x16";
const AES_256_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2A";
const HMAC_SHA_1: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x02\x07";
const HMAC_SHA_256: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x02\x09";
const HMAC_SHA_384: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x02\x0A";
const HMAC_SHA_512: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x02\x0B";

/// Why it stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The password does not open it, or it is damaged.
    Password,
    /// It is sealed in a way that is not known here.
    Unknown,
}

/// Opens `sealed`; `algorithm` is its AlgorithmIdentifier, read.
pub(super) fn open(
    (id, mut parameters): (&[u8], Reader<'_>),
    sealed: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, Closed> {
    let mut parameters = parameters.inside(tag::SEQUENCE).ok_or(Closed::Unknown)?;
    if id == PBES2 {
        return open_pbes2(parameters, sealed, password);
    }
    let (salt, rounds) = salt_and_rounds(&mut parameters)?;
    let derive = |purpose, length| {
        pkcs12_key(
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            purpose,
            password,
            salt,
            rounds,
            length,
        )
    };
    let iv = derive(Purpose::Iv, 8);
    match id {
        SHA_3DES => triple_des(&derive(Purpose::Key, 24), &iv, sealed),
        SHA_RC2_128 => cbc(&Rc2::new_with_eff_key_len(&derive(Purpose::Key, 16), 128), &iv, sealed),
        SHA_RC2_40 => cbc(&Rc2::new_with_eff_key_len(&derive(Purpose::Key, 5), 40), &iv, sealed),
        _ => Err(Closed::Unknown),
    }
}

fn salt_and_rounds<'a>(parameters: &mut Reader<'a>) -> Result<(&'a [u8], u32), Closed> {
    let salt = parameters.take(tag::OCTET_STRING).ok_or(Closed::Unknown)?;
    let rounds = parameters.number().ok_or(Closed::Unknown)?;
    match rounds {
        1..=MOST_ROUNDS => Ok((salt, rounds)),
        _ => Err(Closed::Unknown),
    }
}

fn open_pbes2(mut parameters: Reader<'_>, sealed: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, Closed> {
    let (derivation, mut how) = parameters.algorithm().ok_or(Closed::Unknown)?;
    let (cipher, mut iv) = parameters.algorithm().ok_or(Closed::Unknown)?;
    if derivation != PBKDF2 {
        return Err(Closed::Unknown);
    }
    let mut how = how.inside(tag::SEQUENCE).ok_or(Closed::Unknown)?;
    let (salt, rounds) = salt_and_rounds(&mut how)?;
    // The key's length, where it is said, is the cipher's.
    how.take(tag::INTEGER);
    let hash = match how.algorithm().map_or(HMAC_SHA_1, |(id, _)| id) {
        HMAC_SHA_1 => pbkdf2::PBKDF2_HMAC_SHA1,
        HMAC_SHA_256 => pbkdf2::PBKDF2_HMAC_SHA256,
        HMAC_SHA_384 => pbkdf2::PBKDF2_HMAC_SHA384,
        HMAC_SHA_512 => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return Err(Closed::Unknown),
    };
    let key = |length| {
        let mut key = Zeroizing::new(vec![0; length]);
        let rounds = std::num::NonZeroU32::new(rounds).ok_or(Closed::Unknown)?;
        pbkdf2::derive(hash, rounds, salt, password.as_bytes(), &mut key);
        Ok::<_, Closed>(key)
    };
    let iv = iv.take(tag::OCTET_STRING).ok_or(Closed::Unknown)?;
    match cipher {
        AES_128_CBC => aes(&AES_128, &key(16)?, iv, sealed),
        AES_192_CBC => aes(&AES_192, &key(24)?, iv, sealed),
        AES_256_CBC => aes(&AES_256, &key(32)?, iv, sealed),
        DES_EDE3_CBC => triple_des(&key(24)?, iv, sealed),
        _ => Err(Closed::Unknown),
    }
}

fn aes(cipher: &'static Cipher, key: &[u8], iv: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Closed> {
    let iv: [u8; 16] = iv.try_into().map_err(|_| Closed::Unknown)?;
    let key = UnboundCipherKey::new(cipher, key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .map_err(|_| Closed::Unknown)?;
    let mut text = Zeroizing::new(sealed.to_vec());
    let length = key
        .decrypt(&mut text, DecryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| Closed::Password)?
        .len();
    text.truncate(length);
    Ok(text)
}

fn triple_des(key: &[u8], iv: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Closed> {
    let key = TdesEde3::new_from_slice(key).map_err(|_| Closed::Unknown)?;
    cbc(&key, iv, sealed)
}

/// Cipher block chaining over blocks of eight bytes, with PKCS#7 padding.
fn cbc<C: BlockCipherDecrypt<BlockSize = U8>>(
    cipher: &C,
    iv: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Closed> {
    let mut before: [u8; 8] = iv.try_into().map_err(|_| Closed::Unknown)?;
    let mut text = Zeroizing::new(Vec::with_capacity(sealed.len()));
    let (blocks, []) = sealed.as_chunks::<8>() else {
        return Err(Closed::Password);
    };
    for block in blocks {
        let mut clear = Array(*block);
        cipher.decrypt_block(&mut clear);
        text.extend(clear.iter().zip(before).map(|(clear, before)| clear ^ before));
        before = *block;
    }
    let padding = usize::from(*text.last().ok_or(Closed::Password)?);
    let length = text.len().saturating_sub(padding);
    let padded = matches!(padding, 1..=8) && text[length..].iter().all(|byte| usize::from(*byte) == padding);
    if !padded {
        return Err(Closed::Password);
    }
    text.truncate(length);
    Ok(text)
}

/// What a derived key is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// A cipher's key.
    Key = 1,
    /// A cipher's initial vector.
    Iv = 2,
    /// The key of a file's checksum.
    Checksum = 3,
}

/// Derives bytes from a password as PKCS#12 does (RFC 7292, appendix B.2).
pub(super) fn pkcs12_key(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    password: &str,
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let block = hash.block_len();
    // UTF-16 with an end mark.
    let password: Zeroizing<Vec<u8>> =
        Zeroizing::new(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let filled = |text: &[u8]| -> Zeroizing<Vec<u8>> {
        Zeroizing::new(
            text.iter()
                .copied()
                .cycle()
                .take(text.len().div_ceil(block) * block)
                .collect(),
        )
    };
    let mut input = filled(salt);
    input.extend_from_slice(&filled(&password));
    let mut key = Zeroizing::new(Vec::with_capacity(length + hash.output_len()));
    while key.len() < length {
        let mut first = digest::Context::new(hash);
        first.update(&vec![purpose as u8; block]);
        first.update(&input);
        let mut round = first.finish();
        for _ in 1..rounds {
            round = digest::digest(hash, round.as_ref());
        }
        key.extend_from_slice(round.as_ref());
        // Each block of the input is increased by the digest, repeated, and by one.
        for part in input.chunks_mut(block) {
            let mut carry = 1_u16;
            for (at, byte) in part.iter_mut().enumerate().rev() {
                let sum = u16::from(*byte) + u16::from(round.as_ref()[at % hash.output_len()]) + carry;
                *byte = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
        }
    }
    key.truncate(length);
    key
}
