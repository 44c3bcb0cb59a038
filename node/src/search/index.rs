//! The index itself: which messages have which words, and up to where each conversation is in it. The only file that
//! names the engine, beside [`folder`](super::folder).
//!
//! There are two kinds of documents. One is a message: its conversation, sequence, time and words; neither its text nor
//! who said it. The other is a conversation: up to which message and which change it is in the index; it is replaced in
//! the same commit as the messages that it speaks of, so after a crash it says what is there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use chat::{ChangeNumber, ConversationId, Seq, Timestamp};
use store::{Blobs, StoreError};
use tantivy::collector::TopDocs;
use tantivy::collector::sort_key::SortByStaticFastValue;
use tantivy::columnar::BytesColumn;
use tantivy::indexer::{IndexWriterOptions, MergeCandidate};
use tantivy::merge_policy::{LogMergePolicy, MergePolicy as _, NoMergePolicy};
use tantivy::query::{BooleanQuery, FuzzyTermQuery, Query, RangeQuery, TermQuery, TermSetQuery};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    DocAddress, FutureResult, IndexReader, IndexWriter, Order, ReloadPolicy, Searcher, SegmentMeta,
    TantivyDocument, Term,
};
use thiserror::Error;

use super::folder::Folder;
use super::words::{self, Wanted};

/// What the writer takes of memory before it cuts a segment: the least that the engine accepts.
const WRITER_BYTES: usize = 15_000_000;
/// Larger segments are merged no more, so that no merge takes long.
const SEGMENT_DOCUMENTS_MAX: usize = 1_000_000;
/// With a larger part of what is gone, a segment is written anew without it.
const GONE_RATIO_MAX: f32 = 0.1;
/// Matches that are looked at beyond those asked for, because the engine orders by time and sequence and no further:
/// messages of the same millisecond and sequence, in so many conversations, come in a fixed order.
const SAME_PLACE_MAX: usize = 64;

/// Why the index cannot be used. It is derived: whoever meets this makes a new one.
#[derive(Debug, Error)]
pub(crate) enum IndexError {
    #[error("the index: {0}")]
    Engine(#[from] tantivy::TantivyError),
    #[error("the index: {0}")]
    Disk(#[from] StoreError),
    #[error("the index: {0}")]
    Read(#[from] std::io::Error),
}

/// Segments that become one; ends when they have.
pub(super) type Merge = FutureResult<Option<SegmentMeta>>;

#[derive(Clone, Copy)]
struct Fields {
    conversation: Field,
    seq: Field,
    at: Field,
    words: Field,
    /// The conversation, of a document that says how far it is.
    place: Field,
    change: Field,
    expired: Field,
}

/// Up to where a conversation is in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: Seq,
    pub(super) change: ChangeNumber,
    pub(super) expired: Seq,
}

/// A message that has the words, as far as the index knows. The order of its fields is the order of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) at: Timestamp,
    pub(crate) seq: Seq,
    pub(crate) conversation: ConversationId,
}

/// The writing end.
pub(super) struct Index {
    folder: Folder,
    writer: IndexWriter,
    merging: LogMergePolicy,
    finder: Finder,
}

/// The reading end. Cheap to clone.
#[derive(Clone)]
pub(super) struct Finder {
    reader: IndexReader,
    fields: Fields,
}

impl Index {
    /// The index that was kept in `blobs`; a new one if there is none, or none that can be used.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn open(blobs: &Blobs) -> Result<Self, IndexError> {
        match Folder::open(blobs.clone()).map_err(IndexError::from).and_then(Self::over) {
            Ok(index) => Ok(index),
            Err(error) => {
                tracing::warn!(%error, "it is made anew");
                Self::anew(blobs)
            }
        }
    }

    /// An empty one, in the place of whatever is there.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn anew(blobs: &Blobs) -> Result<Self, IndexError> {
        Self::over(Folder::empty(blobs.clone())?)
    }

    fn over(folder: Folder) -> Result<Self, IndexError> {
        let (schema, fields) = schema();
        // Refuses one of another schema.
        let index = tantivy::Index::open_or_create(folder.clone(), schema)?;
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        let writer = index.writer_with_options(options)?;
        let mut merging = LogMergePolicy::default();
        merging.set_max_docs_before_merge(SEGMENT_DOCUMENTS_MAX);
        merging.set_del_docs_ratio_before_merge(GONE_RATIO_MAX);
        // The engine would merge whenever it likes; here whoever asks knows when, and what it took.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { folder, writer, merging, finder: Finder { reader, fields } })
    }

    pub(super) fn finder(&self) -> Finder {
        self.finder.clone()
    }

    /// A message reads so: what it read before is forgotten.
    pub(super) fn put(&self, hit: Hit, text: &str) -> Result<(), IndexError> {
        let fields = &self.finder.fields;
        let words: BTreeSet<String> = words::words(text).collect();
        if words.is_empty() {
            return Ok(());
        }
        let mut document = TantivyDocument::default();
        document.add_bytes(fields.conversation, hit.conversation.as_bytes());
        document.add_u64(fields.seq, hit.seq.0);
        document.add_u64(fields.at, hit.at.0);
        let token = |(position, text)| Token { position, text, ..Token::default() };
        let tokens = words.into_iter().enumerate().map(token).collect();
        let words = PreTokenizedString { text: String::new(), tokens };
        document.add_pre_tokenized_text(fields.words, words);
        self.writer.add_document(document)?;
        Ok(())
    }

    /// Forgets the messages `from..=to` of a conversation.
    pub(super) fn forget(&self, id: ConversationId, from: Seq, to: Seq) -> Result<(), IndexError> {
        let fields = &self.finder.fields;
        let seq = |seq: Seq| Bound::Included(Term::from_field_u64(fields.seq, seq.0));
        let of = vec![fields.of(id), Box::new(RangeQuery::new(seq(from), seq(to)))];
        self.writer.delete_query(Box::new(BooleanQuery::intersection(of)))?;
        Ok(())
    }

    /// A conversation is in the index up to here.
    pub(super) fn set_place(&self, id: ConversationId, place: Place) -> Result<(), IndexError> {
        let fields = &self.finder.fields;
        self.writer.delete_term(Term::from_field_bytes(fields.place, id.as_bytes()));
        let mut document = TantivyDocument::default();
        document.add_bytes(fields.place, id.as_bytes());
        document.add_u64(fields.seq, place.seq.0);
        document.add_u64(fields.change, place.change.0);
        document.add_u64(fields.expired, place.expired.0);
        self.writer.add_document(document)?;
        Ok(())
    }

    /// What was put and forgotten is found from now on.
    pub(super) fn commit(&mut self) -> Result<(), IndexError> {
        self.writer.commit()?;
        self.finder.reader.reload()?;
        Ok(())
    }

    /// Begins to make one segment of some, if there are enough that are small or have much in them that is gone. It goes on
    /// by itself; no other may begin before it has ended.
    pub(super) fn begin_merge(&mut self) -> Result<Option<Merge>, IndexError> {
        let segments = self.writer.index().searchable_segment_metas()?;
        let some = self.merging.compute_merge_candidates(&segments).into_iter().next();
        Ok(some.map(|MergeCandidate(ids)| self.writer.merge(&ids)))
    }

    /// How many segments it is made of.
    #[cfg(test)]
    pub(super) fn segments(&self) -> usize {
        self.writer.index().searchable_segment_ids().expect("memory").len()
    }

    /// Bytes that a restart would forget.
    pub(super) fn unkept_bytes(&self) -> usize {
        self.folder.unkept_bytes()
    }

    /// Puts what was committed on stable storage.
    pub(super) fn keep(&self) -> Result<(), IndexError> {
        Ok(self.folder.keep()?)
    }
}

impl Finder {
    /// Up to where a conversation is in the index.
    pub(super) fn place(&self, id: ConversationId) -> Result<Option<Place>, IndexError> {
        let searcher = self.reader.searcher();
        let term = Term::from_field_bytes(self.fields.place, id.as_bytes());
        let query = TermQuery::new(term, IndexRecordOption::Basic);
        let found = searcher.search(&query, &TopDocs::with_limit(1).order_by_score())?;
        let Some((_, at)) = found.first() else { return Ok(None) };
        let fast = searcher.segment_reader(at.segment_ord).fast_fields();
        let number = |field: &str| -> Result<u64, IndexError> {
            Ok(fast.u64(field)?.first(at.doc_id).unwrap_or(0))
        };
        Ok(Some(Place {
            seq: Seq(number("seq")?),
            change: ChangeNumber(number("change")?),
            expired: Seq(number("expired")?),
        }))
    }

    /// How many documents there are.
    pub(super) fn documents(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// Messages of some conversations that have the words, the newest first, and whether there are more: about `most` of
    /// those that come after `after` in that order.
    pub(super) fn find(
        &self,
        of: &BTreeSet<ConversationId>,
        wanted: &Wanted,
        after: Option<Hit>,
        most: usize,
    ) -> Result<(Vec<Hit>, bool), IndexError> {
        let searcher = self.reader.searcher();
        let query = self.fields.query(of, wanted, after);
        let window = most + SAME_PLACE_MAX;
        let by = |field: &str| (SortByStaticFastValue::<u64>::for_field(field), Order::Desc);
        let newest = TopDocs::with_limit(window).order_by((by("at"), by("seq")));
        let found = searcher.search(&query, &newest)?;
        let more = found.len() == window;
        let mut columns = BTreeMap::new();
        let mut hits = Vec::with_capacity(found.len());
        for ((at, seq), address) in found {
            let (Some(at), Some(seq)) = (at.map(Timestamp), seq.map(Seq)) else { continue };
            let conversation = conversation(&searcher, &mut columns, address)?;
            hits.extend(conversation.map(|conversation| Hit { at, seq, conversation }));
        }
        hits.sort_unstable_by(|one, other| other.cmp(one));
        // Of the last place there may be more than the window showed: it belongs to the next one as a whole.
        if more && let Some(last) = hits.last().map(|hit| (hit.at, hit.seq)) {
            let whole = hits.partition_point(|hit| (hit.at, hit.seq) > last);
            hits.truncate(if whole == 0 { hits.len() } else { whole });
        }
        hits.retain(|hit| after.is_none_or(|after| *hit < after));
        let more = more || hits.len() > most;
        hits.truncate(most);
        Ok((hits, more))
    }
}

/// The column of a segment that names conversations, if it has messages.
type Columns = BTreeMap<u32, Option<BytesColumn>>;

fn conversation(
    searcher: &Searcher,
    columns: &mut Columns,
    address: DocAddress,
) -> Result<Option<ConversationId>, IndexError> {
    let segment = address.segment_ord;
    let names = match columns.entry(segment) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => {
            let fast = searcher.segment_reader(segment).fast_fields();
            place.insert(fast.bytes("conversation")?)
        }
    };
    let Some(names) = names else { return Ok(None) };
    let Some(name) = names.term_ords(address.doc_id).next() else { return Ok(None) };
    let mut bytes = Vec::new();
    names.ord_to_bytes(name, &mut bytes)?;
    Ok(ConversationId::from_bytes(&bytes).ok())
}

impl Fields {
    /// Messages of a conversation.
    fn of(&self, id: ConversationId) -> Box<dyn Query> {
        let term = Term::from_field_bytes(self.conversation, id.as_bytes());
        Box::new(TermQuery::new(term, IndexRecordOption::Basic))
    }

    fn query(
        &self,
        of: &BTreeSet<ConversationId>,
        wanted: &Wanted,
        after: Option<Hit>,
    ) -> BooleanQuery {
        let names = of.iter().map(|id| Term::from_field_bytes(self.conversation, id.as_bytes()));
        let mut all: Vec<Box<dyn Query>> = vec![Box::new(TermSetQuery::new(names))];
        let word = |word: &String| Term::from_field_text(self.words, word);
        for whole in &wanted.whole {
            all.push(Box::new(TermQuery::new(word(whole), IndexRecordOption::Basic)));
        }
        if let Some(begun) = &wanted.begun {
            all.push(Box::new(FuzzyTermQuery::new_prefix(word(begun), 0, true)));
        }
        if let Some(after) = after {
            all.push(Box::new(self.up_to(after)));
        }
        BooleanQuery::intersection(all)
    }
}

impl Fields {
    /// Messages at this time and sequence, and whatever comes after them.
    fn up_to(&self, hit: Hit) -> BooleanQuery {
        let at = || Term::from_field_u64(self.at, hit.at.0);
        let seq = Bound::Included(Term::from_field_u64(self.seq, hit.seq.0));
        let same: Vec<Box<dyn Query>> = vec![
            Box::new(RangeQuery::new(Bound::Included(at()), Bound::Included(at()))),
            Box::new(RangeQuery::new(Bound::Unbounded, seq)),
        ];
        let older = RangeQuery::new(Bound::Unbounded, Bound::Excluded(at()));
        BooleanQuery::union(vec![Box::new(BooleanQuery::intersection(same)), Box::new(older)])
    }
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let words = TextFieldIndexing::default()
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false)
        .set_tokenizer("raw");
    let number = || NumericOptions::default() | FAST;
    let fields = Fields {
        conversation: builder.add_bytes_field("conversation", INDEXED | FAST),
        seq: builder.add_u64_field("seq", number()),
        at: builder.add_u64_field("at", number()),
        words: builder.add_text_field("words", TextOptions::default().set_indexing_options(words)),
        place: builder.add_bytes_field("place", INDEXED),
        change: builder.add_u64_field("change", number()),
        expired: builder.add_u64_field("expired", number()),
    };
    (builder.build(), fields)
}
