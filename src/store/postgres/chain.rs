//! Packing segments, and the links of what was packed.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use super::{PostgresStore, errors::corrupt, read, rows, topics::to_limit};
use crate::{
    domain::{ChainEnd, ChainHash, Link, LogId, Offset, TopicId},
    store::{Chain, ChainStore, PackRule, PackRun, Packing, StoreError},
};

#[async_trait]
impl ChainStore for PostgresStore {
    async fn unpacked_topics(&self, after: TopicId, age: Duration, limit: usize) -> Result<Vec<TopicId>, StoreError> {
        let statement = sqlx::query("select topic from eventflow.unpacked_topics_v1($1, $2, $3) topic");
        let statement = statement.bind(after.0).bind(rows::to_micros(age)).bind(to_limit(limit));
        let found = self.control.all("unpacked_topics", statement).await?;
        found.iter().map(|row| rows::get(row, "topic").map(TopicId)).collect()
    }

    async fn find_run(&self, topic: TopicId, rule: PackRule) -> Result<Option<PackRun>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_run.sql"))
            .bind(topic.0)
            .bind(rows::to_micros(rule.age))
            .bind(rows::to_micros(rule.span));
        let found = self.reads.all("find_run", statement).await?;
        let Some(first) = found.first() else { return Ok(None) };
        let linked_to = rows::get::<Option<i64>>(first, "linked_to")?.map(rows::to_offset).transpose()?;
        let chain = match linked_to {
            Some(offset) => ChainEnd { offset, hash: hash(first, "chain_hash")? },
            None => ChainEnd { offset: Offset::ZERO, hash: ChainHash::NONE },
        };
        let runs: i32 = rows::get(first, "segments")?;
        if usize::try_from(runs) != Ok(found.len()) {
            return Err(corrupt(format!("a run of {runs} segments has {}", found.len())));
        }
        let mut bytes = 0;
        for row in &found {
            bytes += usize::try_from(rows::get::<i32>(row, "bytes")?).unwrap_or(0);
        }
        let after = chain.offset.max(rows::offset(first, "trimmed_to")?);
        let segment = read::segment(after, &found)?.ok_or_else(|| corrupt("a run without events"))?;
        Ok(Some(PackRun { log_id: LogId(rows::get(first, "log_id")?), chain, segment, runs: found.len(), bytes }))
    }

    async fn pack(&self, topic: TopicId, run: &PackRun, link: &Link) -> Result<Packing, StoreError> {
        let chained = run.chain.offset > Offset::ZERO;
        let statement = sqlx::query(include_str!("sql/pack.sql"))
            .bind(topic.0)
            .bind(link.log_id.0)
            .bind(chained.then_some(run.chain.offset.get()))
            .bind(chained.then_some(run.chain.hash.0.as_slice()))
            .bind(link.first.get())
            .bind(link.last.get())
            .bind(i32::try_from(run.runs).unwrap_or(i32::MAX))
            .bind(i16::from(link.version))
            .bind(link.hash.0.as_slice());
        let row = self.control.one("pack", statement).await?;
        match rows::get(&row, "outcome")? {
            "packed" => Ok(Packing::Packed),
            "moved" => Ok(Packing::Moved),
            "busy" => Ok(Packing::Busy),
            other => Err(corrupt(format!("packing ended with {other:?}"))),
        }
    }

    async fn links(&self, topic: TopicId, after: Offset, limit: usize) -> Result<Option<Chain>, StoreError> {
        let statement = sqlx::query(include_str!("sql/links.sql"));
        let statement = statement.bind(topic.0).bind(after.get()).bind(to_limit(limit));
        let found = self.reads.all("links", statement).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let bounds = rows::bounds(row)?;
        let linked_to = rows::get::<Option<i64>>(row, "linked_to")?.unwrap_or(0);
        let mut links = Vec::new();
        if linked_to > 0 {
            links = found.iter().map(link).collect::<Result<_, _>>()?;
        }
        let ends = [bounds.trimmed_to, bounds.head, rows::to_offset(linked_to)?];
        Ok(Some(Chain::new(LogId(rows::get(row, "topic_log_id")?), ends, after, links)))
    }
}

fn link(row: &PgRow) -> Result<Link, StoreError> {
    let version: i16 = rows::get(row, "version")?;
    Ok(Link {
        first: rows::offset(row, "first_offset")?,
        last: rows::offset(row, "last_offset")?,
        log_id: LogId(rows::get(row, "log_id")?),
        version: rows::number(version.into(), "version of a link")?,
        hash: hash(row, "hash")?,
    })
}

fn hash(row: &PgRow, column: &str) -> Result<ChainHash, StoreError> {
    let bytes: &[u8] = rows::get(row, column)?;
    let hash = bytes.try_into().map_err(|_| corrupt(format!("the {column} has {} bytes", bytes.len())))?;
    Ok(ChainHash(hash))
}
