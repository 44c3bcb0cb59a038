//! Every table engine against a sorted map: random batches, reads, scans, views, flushes, reopens.

#[path = "support/tables.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use store::{Batch, Direction, Engine, KeyRange, Row, RowView, Tables};
use support::{Kind, drain, rows};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Get(Vec<u8>),
    Scan { start: Vec<u8>, end: Vec<u8>, descending: bool, rows_max: usize },
    TakeView { start: Vec<u8>, end: Vec<u8> },
    ReadView { rows: usize },
    Flush,
    Reopen,
}

/// Few and short keys, so that steps meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a', b'b', 0xfe]), 1..4)
}

fn change() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..9000usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    (key(), prop_oneof![3 => value.prop_map(Some), 1 => Just(None)])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(change(), 0..12).prop_map(Step::Write),
        3 => key().prop_map(Step::Get),
        4 => (key(), key(), any::<bool>(), 0..9usize).prop_map(
            |(start, end, descending, rows_max)| Step::Scan { start, end, descending, rows_max }
        ),
        2 => (key(), key()).prop_map(|(start, end)| Step::TakeView { start, end }),
        2 => (0..5usize).prop_map(|rows| Step::ReadView { rows }),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// A view and the rows it must still show.
struct Open {
    view: Box<dyn RowView>,
    wanted: std::vec::IntoIter<Row>,
}

fn in_range(model: &Model, start: &[u8], end: &[u8]) -> Vec<Row> {
    let within = |key: &[u8]| start <= key && key < end;
    let rows = model.iter().filter(|(key, _)| within(key));
    rows.map(|(key, value)| (key.clone().into(), value.clone().into())).collect()
}

struct World {
    kind: Kind,
    folder: tempfile::TempDir,
    tables: Option<Arc<dyn Tables>>,
    model: Model,
    views: Vec<Open>,
}

impl World {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tables = Some(kind.open(folder.path()));
        Self { kind, folder, tables, model: Model::new(), views: Vec::new() }
    }

    fn tables(&self) -> &dyn Tables {
        &**self.tables.as_ref().expect("open between steps")
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Write(changes) => self.write(changes),
            Step::Get(key) => {
                let found = self.tables().get(&key).expect("read");
                assert_eq!(found.as_deref(), self.model.get(&key).map(Vec::as_slice));
            }
            Step::Scan { start, end, descending, rows_max } => {
                let mut wanted = in_range(&self.model, &start, &end);
                let direction = match descending {
                    true => Direction::Descending,
                    false => Direction::Ascending,
                };
                if descending {
                    wanted.reverse();
                }
                wanted.truncate(rows_max);
                let range = KeyRange::new(start, end);
                assert_eq!(self.tables().scan(range, direction, rows_max).expect("read"), wanted);
            }
            Step::TakeView { start, end } => {
                let wanted = in_range(&self.model, &start, &end).into_iter();
                let view = self.tables().view(KeyRange::new(start, end)).expect("a view");
                self.views.push(Open { view, wanted });
            }
            Step::ReadView { rows } => {
                for Open { view, wanted } in &mut self.views {
                    for _ in 0..rows {
                        assert_eq!(view.next().expect("read"), wanted.next());
                    }
                }
            }
            Step::Flush => self.tables().flush().expect("flushed"),
            Step::Reopen => self.reopen(),
        }
    }

    fn write(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        let mut batch = Batch::new();
        for (key, value) in changes {
            match value {
                Some(value) => {
                    batch.put(key.clone(), value.clone());
                    self.model.insert(key, value);
                }
                None => {
                    self.model.remove(&key);
                    batch.delete(key);
                }
            }
        }
        self.tables().write(batch).expect("written");
    }

    fn reopen(&mut self) {
        self.finish_views();
        if self.kind.is_durable() {
            self.tables().flush().expect("flushed");
            self.tables = None;
            self.tables = Some(self.kind.open(self.folder.path()));
        }
    }

    fn finish_views(&mut self) {
        for Open { mut view, wanted } in self.views.drain(..) {
            assert_eq!(drain(&mut *view), wanted.collect::<Vec<_>>());
        }
    }

    fn finish(mut self) {
        self.finish_views();
        assert_eq!(rows(self.tables()), in_range(&self.model, &[0], &[0xff; 8]));
    }
}

fn engine_behaves_like_a_sorted_map(kind: Kind, cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..60))| {
        let mut world = World::new(kind);
        for step in steps {
            world.run(step);
        }
        world.finish();
    });
}

#[test]
fn fjall_behaves_like_a_sorted_map() {
    engine_behaves_like_a_sorted_map(Kind { engine: Engine::Fjall, sealed: false }, 40);
}

#[test]
fn sled_behaves_like_a_sorted_map() {
    engine_behaves_like_a_sorted_map(Kind { engine: Engine::Sled, sealed: false }, 40);
}

#[test]
fn memory_behaves_like_a_sorted_map() {
    engine_behaves_like_a_sorted_map(Kind { engine: Engine::Memory, sealed: false }, 200);
}

#[test]
fn sealed_tables_behave_like_a_sorted_map() {
    engine_behaves_like_a_sorted_map(Kind { engine: Engine::Memory, sealed: true }, 100);
}
