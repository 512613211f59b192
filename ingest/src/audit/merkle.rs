//! The tree of RFC 6962, section 2.1: built leaf by leaf, with one hash kept per whole subtree.

use ring::digest::{Context, SHA256, digest};

type Hash = [u8; 32];

/// A tree that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// The whole subtrees from left to right, each with how many leaves it has.
    whole: Vec<(u64, Hash)>,
    size: u64,
}

impl Tree {
    /// Adds a leaf.
    pub(super) fn push(&mut self, leaf: &[u8]) {
        let mut hash = hashed(0, &[leaf]);
        let mut leaves = 1;
        while let Some((same, left)) = self.whole.last().copied().filter(|(of, _)| *of == leaves) {
            self.whole.pop();
            hash = hashed(1, &[&left, &hash]);
            leaves += same;
        }
        self.whole.push((leaves, hash));
        self.size += 1;
    }

    /// How many leaves it has.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The hash over all of it.
    pub(super) fn root(&self) -> Hash {
        let mut from_right = self.whole.iter().rev();
        let Some((_, last)) = from_right.next() else { return plain(&[]) };
        from_right.fold(*last, |right, (_, left)| hashed(1, &[left, &right]))
    }
}

fn plain(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or([0; 32])
}

fn hashed(kind: u8, parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[kind]);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().unwrap_or([0; 32])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The roots of RFC 6962's own test data, as Certificate Transparency's implementations have them.
    #[test]
    fn roots_are_those_that_others_compute() {
        let leaves: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&tree.root()), empty);
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.push(leaf);
            assert_eq!(hex(&tree.root()), root, "{} leaves", tree.size());
        }
    }
}
