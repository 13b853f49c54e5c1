//! `aurora image publish`: a disk image as files any web server can serve, to be fetched as they are touched.
//!
//! In the folder are `manifest` and `chunks/ab/abcd…`: the image in pieces of one size, each packed with gzip and named
//! after the SHA-256 of what is served. The manifest is `AURORAIM`, version and bytes of a piece (u32, little endian),
//! bytes of the image (u64), 32 bytes of hash for each piece (zeros for one of zeros), and the Ed25519 signature of all
//! before it. `web/src/disk-published.js` is who reads it. Pieces that are there already stay: what two versions of an
//! image have in common is served once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use super::gzip;
use crate::{project, ui};

/// Bytes of a piece: small ones fetch less that nobody wants, large ones pack better and take fewer requests.
pub const CHUNK: u32 = 128 << 10;
const VERSION: u32 = 1;
/// What both machines' pages and file systems' blocks are multiples of.
const PAGE: u64 = 4096;

/// What came of it.
pub struct Published {
    /// The public key, in hexadecimal: who fetches the image has to know it.
    pub key: String,
    /// Pieces that hold something, and their bytes as they are served.
    pub chunks: usize,
    /// See `chunks`.
    pub bytes: u64,
}

/// Publishes the image in `folder`, signed with the key in a file, which is made if it is not there.
pub fn publish(image: &Path, folder: &Path, key: &Path) -> Result<Published> {
    let cannot = || format!("cannot read {}", image.display());
    let file = File::open(image).with_context(cannot)?;
    let size = file.metadata().with_context(cannot)?.len();
    ensure!(size > 0 && size.is_multiple_of(PAGE), "{} has no whole number of pages", image.display());
    let key = signing_key(key)?;
    let mut manifest = b"AURORAIM".to_vec();
    manifest.extend(VERSION.to_le_bytes());
    manifest.extend(CHUNK.to_le_bytes());
    manifest.extend(size.to_le_bytes());
    let (mut chunks, mut bytes) = (0, 0);
    let progress = ui::bar(&format!("publishing {}", image.display()), size.div_ceil(CHUNK.into()));
    for at in (0..size).step_by(CHUNK as usize) {
        let mut chunk = vec![0; usize::try_from(u64::from(CHUNK).min(size - at))?];
        file.read_exact_at(&mut chunk, at).with_context(cannot)?;
        progress.inc(1);
        if chunk.iter().all(|&byte| byte == 0) {
            manifest.extend([0; 32]);
            continue;
        }
        let packed = gzip(&chunk)?;
        let hash = Sha256::digest(&packed);
        manifest.extend(hash);
        chunks += 1;
        bytes += packed.len() as u64;
        put(&folder.join("chunks"), &hash, &packed)?;
    }
    progress.finish_and_clear();
    manifest.extend(key.sign(&manifest).to_bytes());
    // Last: a manifest speaks of what is there.
    project::write_whole(&folder.join("manifest"), &manifest)?;
    Ok(Published { key: hex(key.verifying_key().as_bytes()), chunks, bytes })
}

/// What was published in a folder, by the paths it is to be served at.
pub fn files(folder: &Path) -> Result<HashMap<String, Vec<u8>>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut files = HashMap::from([("manifest".to_owned(), read(&folder.join("manifest"))?)]);
    for some in fs::read_dir(folder.join("chunks")).with_context(|| format!("cannot read {}", folder.display()))? {
        for chunk in fs::read_dir(some?.path())? {
            let path = chunk?.path();
            files.insert(path.strip_prefix(folder)?.to_string_lossy().into_owned(), read(&path)?);
        }
    }
    Ok(files)
}

fn put(folder: &Path, hash: &[u8], packed: &[u8]) -> Result<()> {
    let name = hex(hash);
    let folder = folder.join(name.get(..2).unwrap_or_default());
    let path = folder.join(&name);
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    project::write_whole(&path, packed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The private key in a file, in hexadecimal; a new one nobody else may read if there is none.
fn signing_key(path: &Path) -> Result<SigningKey> {
    if !path.exists() {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|e| anyhow!("the host gives no entropy: {e}"))?;
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        writeln!(file.with_context(|| format!("cannot make {}", path.display()))?, "{}", hex(&secret))?;
        ui::say(&format!("{}: a new private key; keep it to yourself", path.display()));
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let secret = from_hex(text.trim()).with_context(|| format!("{} has no key", path.display()))?;
    Ok(SigningKey::from_bytes(&secret))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, Verifier as _};

    #[test]
    fn what_is_published_is_the_image_signed_and_each_piece_once() {
        let folder = std::env::temp_dir().join(format!("aurora-publish-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (image, key) = (folder.join("image"), folder.join("key"));
        // A piece, one of zeros, the first again, and the beginning of another.
        let piece: Vec<u8> = (0..CHUNK).map(|i| (i * 7 + (i >> 8)) as u8).collect();
        let bytes = [&piece[..], &vec![0; CHUNK as usize], &piece, &[5; PAGE as usize]].concat();
        fs::write(&image, &bytes).unwrap();
        let site = folder.join("site");
        let first = publish(&image, &site, &key).unwrap();
        assert_eq!(first.key, publish(&image, &site, &key).unwrap().key);

        let manifest = fs::read(site.join("manifest")).unwrap();
        let (signed, signature) = manifest.split_at(manifest.len() - 64);
        let known = ed25519_dalek::VerifyingKey::from_bytes(&from_hex(&first.key).unwrap()).unwrap();
        known.verify(signed, &Signature::from_slice(signature).unwrap()).unwrap();
        let hashes: Vec<&[u8]> = signed[24..].chunks(32).collect();
        assert_eq!((hashes.len(), hashes[0]), (4, hashes[2]));
        assert_eq!(hashes[1], [0; 32]);
        for (hash, expected) in hashes.iter().zip(bytes.chunks(CHUNK as usize)).filter(|(hash, _)| **hash != [0; 32]) {
            let name = hex(hash);
            let packed = fs::read(site.join("chunks").join(&name[..2]).join(&name)).unwrap();
            assert_eq!(Sha256::digest(&packed).as_slice(), *hash);
            assert_eq!(super::super::unpacked(packed).unwrap(), expected);
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
