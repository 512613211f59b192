//! How a record lies in the store: by partition and offset, behind a checksum.

/// Length of a key.
pub(super) const KEY_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 8;

/// Keys sort by partition, then by offset.
pub(super) fn key(partition: u32, offset: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset in a key.
pub(super) fn offset(key: &[u8]) -> Option<u64> {
    key.get(4..KEY_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

/// The value of a record: its bytes behind the checksum.
pub(super) fn checked(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + bytes.len());
    value.extend_from_slice(&checksum(key, bytes));
    value.extend_from_slice(bytes);
    value
}

/// The bytes of a record, unless something changed.
pub(super) fn unchecked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (found, bytes) = value.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*found == checksum(key, bytes)).then_some(bytes)
}

/// The first bytes of a hash of key and value: a record that moved or changed is noticed.
fn checksum(key: &[u8], bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    checksum
}
