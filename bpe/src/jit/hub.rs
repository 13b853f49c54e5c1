//! The hub: the one block where all indirect jumps of a function meet.
//!
//! What always holds: the places it leads to have numbers from 1 on, by which it goes on there; and whoever enters the
//! function at one of them enters through it, so that they need nothing in the graph of their own.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::code::{End, Function};
use super::graph::{Graph, NONE};

/// Most bytes between the places indirect jumps of a function go to.
const MOST_SPAN: i64 = 1 << 16;

/// Where the hub's numbers of places are looked up.
#[derive(Clone, Copy)]
pub(super) struct Map {
    /// The lowest place.
    pub(super) low: i64,
    /// Distance of the highest.
    pub(super) span: i64,
    /// A byte for each distance.
    pub(super) address: u32,
    /// The local that holds the number found.
    pub(super) number: u32,
}

/// The hub, if it can be used.
pub(super) struct Hub {
    pub(super) block: usize,
    /// Where it leads, in the order of their numbers, from 1 on.
    pub(super) places: Vec<i64>,
    /// The lowest place.
    pub(super) low: i64,
    /// The number of each byte after that.
    pub(super) map: Box<[u8]>,
}

/// The hub of a function whose blocks make this graph.
pub(super) fn hub_of(function: &Function, graph: &Graph) -> Option<Hub> {
    let (block, targets) = function.blocks.iter().enumerate().find_map(|(b, block)| match &block.end {
        End::Hub(targets) => Some((b, targets)),
        _ => None,
    })?;
    let (low, high) = (targets.first()?.0, targets.last()?.0);
    let reached = targets.iter().filter(|t| !graph.cut.contains(&(block, t.1)));
    let places: Vec<i64> = reached.map(|t| t.0).collect();
    if high - low >= MOST_SPAN || places.is_empty() || graph.order[block] == NONE {
        return None;
    }
    let mut map = vec![0u8; (high - low + 1) as usize];
    for (i, place) in places.iter().enumerate() {
        map[(place - low) as usize] = i as u8 + 1;
    }
    Some(Hub { block, places, low, map: map.into_boxed_slice() })
}
