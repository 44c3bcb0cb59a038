//! Who writes where: clients and conversations of a benchmark. Pure.
//!
//! With at least as many conversations as clients each conversation has one writer and one reader, and
//! a client takes its conversations in turn. Of those readers all are connected, or one in
//! [`SAMPLE`]; the others are users whose devices are off, as most receivers of a messenger are. With fewer, clients share them: conversation `k` is a
//! group of the clients `k`, `k + K`, `k + 2K` …, and each message reaches all others of its group.

/// One reader in so many is connected when readers are sampled: enough to measure deliveries by.
pub(super) const SAMPLE: usize = 16;

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Users by number.
    pub(super) members: Vec<usize>,
    /// Between two users, and no other table has the same two.
    pub(super) direct: bool,
}

/// The whole arrangement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seats {
    pub(super) tables: Vec<Table>,
    /// Per user the tables it writes to. A user without any only reads.
    pub(super) writes: Vec<Vec<usize>>,
    /// Users from this number on are never connected.
    pub(super) connected: usize,
}

impl Seats {
    /// Seats for `clients` writers and `conversations`; all readers are connected, or a sample.
    pub(super) fn new(clients: usize, conversations: usize, all_read: bool) -> Seats {
        let users = clients.max(2);
        let absent = users;
        let accounts = if all_read { users } else { users + 1 };
        let writes = vec![Vec::new(); accounts];
        let mut seats = Seats { tables: Vec::new(), writes, connected: users };
        for k in 0..conversations {
            let table = if conversations < clients {
                Table { members: (k..clients).step_by(conversations).collect(), direct: false }
            } else {
                let (from, lap) = (k % clients, k / clients);
                let reads = all_read || k % SAMPLE == 0;
                let next = (from + 1 + lap % (users - 1)) % users;
                let to = if reads { next } else { absent };
                // The first lap of three or more meets each pair once; later ones may meet it again.
                Table { members: vec![from, to], direct: lap == 0 && (users > 2 || clients == 1) }
            };
            let writers = if conversations < clients { table.members.len() } else { 1 };
            for user in &table.members[..writers] {
                seats.writes[*user].push(k);
            }
            seats.tables.push(table);
        }
        seats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_writes_and_every_conversation_has_a_reader() {
        for clients in [1, 2, 3, 16, 64, 100] {
            for conversations in [1, 2, 3, 16, 64, 500] {
                let seats = Seats::new(clients, conversations, true);
                assert_eq!(seats.tables.len(), conversations);
                for client in 0..clients {
                    assert!(!seats.writes[client].is_empty(), "{clients} {conversations}");
                }
                for (k, table) in seats.tables.iter().enumerate() {
                    let alone = clients > conversations && table.members.len() == 1;
                    assert!(table.members.len() >= 2 || alone, "{clients} {conversations} {k}");
                }
            }
        }
    }

    #[test]
    fn direct_conversations_are_between_different_pairs() {
        for (clients, all_read) in
            [1, 2, 3, 5, 64].into_iter().flat_map(|n| [(n, true), (n, false)])
        {
            let seats = Seats::new(clients, clients * 3, all_read);
            let mut pairs: Vec<Vec<usize>> = seats
                .tables
                .iter()
                .filter(|table| table.direct)
                .map(|table| {
                    let mut pair = table.members.clone();
                    pair.sort_unstable();
                    pair
                })
                .collect();
            let count = pairs.len();
            pairs.sort();
            pairs.dedup();
            assert_eq!(pairs.len(), count, "{clients}");
            assert!(pairs.iter().all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn sampled_readers_are_connected_and_the_others_never() {
        let seats = Seats::new(64, 64, false);
        let reached =
            seats.tables.iter().filter(|table| table.members[1] < seats.connected).count();
        assert_eq!((reached, seats.connected, seats.writes.len()), (64 / SAMPLE, 64, 65));
        assert!(seats.writes[..64].iter().all(|writes| writes.len() == 1));
    }

    #[test]
    fn shared_conversations_are_shared_evenly() {
        let seats = Seats::new(64, 16, true);
        assert!(seats.tables.iter().all(|table| table.members.len() == 4 && !table.direct));
    }
}
