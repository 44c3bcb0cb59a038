//! An operator splits a shard while everybody talks: the upper half of its slots becomes a shard of its own. Nothing heals it,
//! so a run has more shards at its end than at its beginning; there is a bound to that.

use crate::cluster::{Cluster, Setback};
use crate::dice::Dice;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};

/// No shard is split any more when there are so many: what is looked for does not need more of them.
const SHARDS_MAX: usize = 12;

/// See the module.
#[derive(Debug)]
pub(in crate::nemesis) struct Split {
    /// The new shard with its first slot and the one after its last.
    begun: Option<(u32, u64, u64)>,
}

impl Split {
    pub(in crate::nemesis) fn new() -> Self {
        Self { begun: None }
    }
}

/// The first slot of a shard and the one after its last.
fn slots(cluster: &mut Cluster, shard: u32) -> Result<Option<(u64, u64)>, Setback> {
    let shown = cluster.operate(&["shard", "show", &shard.to_string()])?;
    Ok(shown["slots"][0].as_u64().zip(shown["slots"][1].as_u64()))
}

impl Fault for Split {
    fn kind(&self) -> Kind {
        Kind { name: "shard-split", toll: Toll::Nothing, leader: false }
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        _: &Scope,
    ) -> Result<Installed, Skipped> {
        let led = cluster.leaders();
        let shards: Vec<u32> = led.into_keys().filter(|group| *group > 0).collect();
        if shards.is_empty() || shards.len() >= SHARDS_MAX {
            return Err(Skipped::new(format!("{} shards are led", shards.len())));
        }
        let shard = *dice.pick(&shards);
        let Some((first, end)) = slots(cluster, shard)?.filter(|(first, end)| end - first > 1)
        else {
            return Err(Skipped::new(format!("shard {shard} has one slot")));
        };
        let middle = first + (end - first) / 2;
        let half = format!("{middle}-{}", end - 1);
        // Said twice, it is refused the second time: those slots are another shard's then.
        let begun = cluster.operate(&["shard", "split", &shard.to_string(), "--slots", &half])?;
        let to = begun["to"].as_u64().and_then(|to| u32::try_from(to).ok());
        let to = to.ok_or_else(|| Skipped::new("nothing was said of the new shard"))?;
        self.begun = Some((to, middle, end));
        Ok(Installed::new(format!("shard {shard} gives the slots {half} to shard {to}")))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let (to, first, end) = self.begun.ok_or("no split was begun")?;
        // Asked first, because a shard that is not there yet is asked for again and again.
        if !cluster.leaders().contains_key(&to) {
            return Err(format!("nobody leads shard {to}"));
        }
        match slots(cluster, to).map_err(|setback| setback.to_string())? {
            Some(has) if has == (first, end) => Ok(format!("shard {to} is led and has its slots")),
            has => Err(format!("shard {to} has {has:?}")),
        }
    }

    fn heal(&mut self, _: &mut Cluster) -> Result<(), Setback> {
        Ok(())
    }
}
