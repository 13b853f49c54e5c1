//! A file system in memory that does the same operations, to compare with.

use std::collections::BTreeMap;
use std::sync::Arc as Rc;

use aurora_ext4::*;

use super::random::Random;
use super::{Host, NEW_DIR, NEW_FILE};

/// An inode of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    File(Rc<Vec<u8>>),
    Dir,
    Link(String),
}

/// Names to inodes, and inodes with what they have. Comparing two of them compares trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub names: BTreeMap<String, u64>,
    pub nodes: BTreeMap<u64, Node>,
    pub xattrs: BTreeMap<u64, BTreeMap<String, Vec<u8>>>,
    next: u64,
}

/// How the random operations are to be.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Writes only where nothing was, so that contents are those of some moment.
    pub no_overwrite: bool,
    pub extents: bool,
    pub largest: u64,
}

impl Model {
    fn files(&self) -> Vec<String> {
        self.names.iter().filter(|(_, id)| matches!(self.nodes[id], Node::File(_))).map(|(n, _)| n.clone()).collect()
    }
    fn dirs(&self) -> Vec<String> {
        let mut all = vec![String::new()];
        all.extend(self.names.iter().filter(|(_, id)| self.nodes[id] == Node::Dir).map(|(n, _)| n.clone()));
        all
    }
    fn all(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }
    fn is_dir(&self, path: &str) -> bool {
        self.names.get(path).is_some_and(|id| self.nodes[id] == Node::Dir)
    }
    fn children(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.names.range(prefix.clone()..).next().is_some_and(|(n, _)| n.starts_with(&prefix))
    }
    fn add(&mut self, path: &str, node: Node) {
        self.next += 1;
        self.names.insert(path.to_owned(), self.next);
        self.nodes.insert(self.next, node);
    }
    fn remove(&mut self, path: &str) {
        if let Some(id) = self.names.remove(path)
            && !self.names.values().any(|other| *other == id)
        {
            self.nodes.remove(&id);
            self.xattrs.remove(&id);
        }
    }
    /// Moves a name with all below it.
    fn shift(&mut self, from: &str, to: &str) {
        let moved: Vec<(String, u64)> = self
            .names
            .iter()
            .filter(|(n, _)| *n == from || n.starts_with(&format!("{from}/")))
            .map(|(n, i)| (n.clone(), *i))
            .collect();
        for (name, _) in &moved {
            self.names.remove(name);
        }
        for (name, id) in moved {
            self.names.insert(format!("{to}{}", &name[from.len()..]), id);
        }
    }
    fn contents(&self, path: &str) -> Rc<Vec<u8>> {
        match &self.nodes[&self.names[path]] {
            Node::File(data) => data.clone(),
            _ => Rc::default(),
        }
    }
    fn set_contents(&mut self, path: &str, data: Vec<u8>) {
        self.nodes.insert(self.names[path], Node::File(Rc::new(data)));
    }

    /// Does one random operation on both.
    pub fn step(&mut self, host: &mut Host, random: &mut Random, mix: Mix) {
        let (files, dirs, all) = (self.files(), self.dirs(), self.all());
        let fresh = |random: &mut Random, dirs: &[String]| {
            let length = [1, 3, 8, 20, 60, 200][random.below(6) as usize];
            let word: String = (0..length).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
            format!("{}/{word}", random.pick(dirs).unwrap())
        };
        // A disk that long work has filled loses things again, and what was theirs is free after a commit.
        let about = host.fs.statfs();
        let choice =
            if about.free < about.blocks / 3 { [70, 70, 70, 97][random.below(4) as usize] } else { random.below(100) };
        match choice {
            0..20 => {
                let path = fresh(random, &dirs);
                let made = host.make(&path, &NEW_FILE);
                if self.names.contains_key(&path) {
                    assert_eq!(made, Err(Error::Exists));
                } else {
                    made.unwrap();
                    self.add(&path, Node::File(Rc::default()));
                }
            }
            20..25 => {
                let path = fresh(random, &dirs);
                if !self.names.contains_key(&path) {
                    host.make(&path, &NEW_DIR).unwrap();
                    self.add(&path, Node::Dir);
                }
            }
            25..28 => {
                let path = fresh(random, &dirs);
                let target = "t".repeat(1 + random.below(300) as usize);
                if !self.names.contains_key(&path) {
                    let new = NewInode { kind: FileType::Symlink, target: target.as_bytes(), ..NEW_FILE };
                    host.make(&path, &new).unwrap();
                    self.add(&path, Node::Link(target));
                }
            }
            28..55 => {
                let Some(path) = random.pick(&files) else { return };
                self.write(host, random, path, mix);
            }
            55..62 => {
                let Some(path) = random.pick(&files) else { return };
                let mut data = self.contents(path).to_vec();
                let length = random.below(data.len() as u64 * 2 + 2).min(mix.largest);
                let length = if mix.no_overwrite { length.min(data.len() as u64) / 4096 * 4096 } else { length };
                let ino = host.find(path).unwrap();
                host.truncate(ino, length).unwrap();
                data.resize(length as usize, 0);
                self.set_contents(path, data);
            }
            62..66 if !mix.no_overwrite => {
                let Some(path) = random.pick(&files) else { return };
                self.carve(host, random, path, mix);
            }
            62..74 => {
                let Some(path) = random.pick(&all) else { return };
                if self.is_dir(path) {
                    let gone = host.rmdir(path);
                    if self.children(path) {
                        assert_eq!(gone, Err(Error::NotEmpty));
                        return;
                    }
                    gone.unwrap();
                } else {
                    host.unlink(path).unwrap();
                }
                self.remove(path);
            }
            74..79 => {
                let Some(path) = random.pick(&files) else { return };
                let to = fresh(random, &dirs);
                if !self.names.contains_key(&to) {
                    let (ino, (dir, name)) = (host.find(path).unwrap(), host.parent(&to).unwrap());
                    let by = host.by();
                    host.run(|fs| fs.link(ino, dir, name.as_bytes(), by)).unwrap();
                    self.names.insert(to, self.names[path]);
                }
            }
            79..91 => {
                let to = fresh(random, &dirs);
                self.rename(host, random, &to);
            }
            91..95 => {
                let Some(path) = random.pick(&all) else { return };
                let id = self.names[path];
                if matches!(self.nodes[&id], Node::Link(_)) {
                    return;
                }
                let name = format!("user.{}", random.below(6));
                let size = [5, 50, 400][random.below(3) as usize];
                let value = if random.below(3) == 0 { vec![7; size] } else { random.bytes(size) };
                let (ino, by) = (host.find(path).unwrap(), host.by());
                match host.run(|fs| fs.set_xattr(ino, name.as_bytes(), &value, SetXattr::Any, by)) {
                    Ok(()) => drop(self.xattrs.entry(id).or_default().insert(name, value)),
                    Err(error) => assert_eq!(error, Error::NoSpace),
                }
            }
            95..97 => {
                let with: Vec<(u64, String)> =
                    self.xattrs.iter().flat_map(|(id, all)| all.keys().map(|k| (*id, k.clone()))).collect();
                let Some((id, name)) = random.pick(&with) else { return };
                let path = self.names.iter().find(|(_, i)| *i == id).unwrap().0.clone();
                let (ino, by) = (host.find(&path).unwrap(), host.by());
                host.run(|fs| fs.remove_xattr(ino, name.as_bytes(), by)).unwrap();
                self.xattrs.get_mut(id).unwrap().remove(name);
            }
            97 => host.commit(),
            98 => host.checkpoint(),
            _ => {
                host.fs.shrink(u64::MAX);
            }
        }
    }

    fn write(&mut self, host: &mut Host, random: &mut Random, path: &str, mix: Mix) {
        let mut data = self.contents(path).to_vec();
        let place = match random.below(4) {
            _ if mix.no_overwrite => data.len() as u64,
            0 => random.below(mix.largest),
            1 => random.below(data.len() as u64 + 1),
            _ => data.len() as u64,
        };
        let size = [10, 1000, 5000, 70_000][random.below(4) as usize].min(mix.largest - place.min(mix.largest));
        let bytes = random.bytes(size as usize);
        if bytes.is_empty() {
            return;
        }
        let ino = host.find(path).unwrap();
        let how = if random.below(2) == 0 { Allocate::Written } else { Allocate::Unwritten };
        host.write_as(ino, place, &bytes, how).unwrap();
        let end = place as usize + bytes.len();
        if data.len() < end {
            data.resize(end, 0);
        }
        data[place as usize..end].copy_from_slice(&bytes);
        self.set_contents(path, data);
    }

    /// Holes, preallocation, zeroing: of whole blocks.
    fn carve(&mut self, host: &mut Host, random: &mut Random, path: &str, mix: Mix) {
        let size = host.block_size();
        let mut data = self.contents(path).to_vec();
        let blocks = (data.len() as u64).div_ceil(size) + 10;
        let (first, count) = (random.below(blocks), 1 + random.below(blocks));
        let (ino, by) = (host.find(path).unwrap(), host.by());
        if host.run(|fs| fs.take_inline(ino, by)).unwrap().is_some() {
            host.write(ino, 0, &data).unwrap();
        }
        let kind = random.below(3);
        if kind > 0 && !mix.extents {
            assert_eq!(host.run(|fs| fs.allocate(ino, first, count, by)), Err(Error::NotSupported));
            return;
        }
        loop {
            let progress = match kind {
                0 => host.run(|fs| fs.punch(ino, first, count, by)),
                1 => host.run(|fs| fs.allocate(ino, first, count, by)),
                _ => host.run(|fs| fs.zero(ino, first, count, by)),
            };
            if progress.unwrap() == Progress::Done {
                break;
            }
            host.housekeeping();
        }
        if kind != 1 {
            let from = ((first * size) as usize).min(data.len());
            let to = (((first + count) * size) as usize).min(data.len());
            data[from..to].fill(0);
            self.set_contents(path, data);
        }
    }

    fn rename(&mut self, host: &mut Host, random: &mut Random, fresh: &str) {
        let all = self.all();
        let Some(from) = random.pick(&all) else { return };
        let to = if random.below(2) == 0 { fresh.to_owned() } else { random.pick(&all).unwrap().clone() };
        let below = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
        if below(&to, from) || below(from, &to) {
            return;
        }
        let exists = self.names.contains_key(&to);
        if exists && random.below(3) == 0 {
            host.rename(from, &to, Rename::Exchange).unwrap();
            if self.names[from] != self.names[&to] {
                self.shift(from, "\u{1}");
                self.shift(&to, from);
                self.shift("\u{1}", &to);
            }
            return;
        }
        let result = host.rename(from, &to, Rename::Replace);
        if exists {
            if self.names[from] == self.names[&to] {
                return result.unwrap();
            }
            match (self.is_dir(from), self.is_dir(&to)) {
                (true, false) => return assert_eq!(result, Err(Error::NotDirectory)),
                (false, true) => return assert_eq!(result, Err(Error::IsDirectory)),
                (true, true) if self.children(&to) => return assert_eq!(result, Err(Error::NotEmpty)),
                _ => {}
            }
        }
        result.unwrap();
        if exists {
            self.remove(&to);
        }
        self.shift(from, &to);
    }

    /// Reads the tree of a file system. Inodes are numbered as the names come.
    pub fn read(host: &mut Host) -> Result<Self> {
        let mut model = Self::default();
        let mut seen = BTreeMap::new();
        model.read_dir(host, Ext4::ROOT, "", &mut seen)?;
        Ok(model)
    }

    fn read_dir(&mut self, host: &mut Host, dir: Ino, path: &str, seen: &mut BTreeMap<Ino, u64>) -> Result<()> {
        for entry in host.list(dir, 20)? {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            if name == "." || name == ".." || (path.is_empty() && name == "lost+found") {
                continue;
            }
            let path = format!("{path}/{name}");
            let attributes = host.run(|fs| fs.attributes(entry.ino))?;
            if let Some(id) = seen.get(&entry.ino) {
                self.names.insert(path, *id);
                continue;
            }
            let node = match attributes.kind {
                FileType::Directory => Node::Dir,
                FileType::Symlink => {
                    Node::Link(String::from_utf8_lossy(&host.run(|fs| fs.read_link(entry.ino))?).into_owned())
                }
                _ => Node::File(Rc::new(host.read_all(entry.ino)?)),
            };
            let is_dir = node == Node::Dir;
            self.add(&path, node);
            seen.insert(entry.ino, self.next);
            let names = host.run(|fs| fs.xattr_names(entry.ino))?;
            for name in names {
                let value = host.run(|fs| fs.xattr(entry.ino, &name))?;
                self.xattrs.entry(self.next).or_default().insert(String::from_utf8_lossy(&name).into_owned(), value);
            }
            if is_dir {
                self.read_dir(host, entry.ino, &path, seen)?;
            }
        }
        Ok(())
    }

    /// The same tree with inodes numbered by the first name they have.
    pub fn ordered(&self) -> Self {
        let mut out = Self::default();
        let mut ids: BTreeMap<u64, u64> = BTreeMap::new();
        for (name, id) in &self.names {
            let next = ids.len() as u64 + 1;
            let new = *ids.entry(*id).or_insert(next);
            out.names.insert(name.clone(), new);
            out.nodes.insert(new, self.nodes[id].clone());
            if let Some(xattrs) = self.xattrs.get(id).filter(|x| !x.is_empty()) {
                out.xattrs.insert(new, xattrs.clone());
            }
        }
        out
    }

    /// What differs first, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (a, b) = (self.ordered(), other.ordered());
        if a == b {
            return None;
        }
        for name in a.names.keys().chain(b.names.keys()) {
            match (a.names.get(name), b.names.get(name)) {
                (Some(x), Some(y)) if x == y => {
                    if a.nodes[x] != b.nodes[y] {
                        return Some(match (&a.nodes[x], &b.nodes[y]) {
                            (Node::File(p), Node::File(q)) => {
                                let at = p.iter().zip(q.iter()).position(|(p, q)| p != q);
                                format!("{name}: {} and {} bytes, first other at {at:?}", p.len(), q.len())
                            }
                            (p, q) => format!("{name}: {p:?} and {q:?}"),
                        });
                    }
                    if a.xattrs.get(x) != b.xattrs.get(y) {
                        return Some(format!("{name}: attributes"));
                    }
                }
                (x, y) => return Some(format!("{name}: inode {x:?} and {y:?}")),
            }
        }
        Some("something".to_owned())
    }
}
