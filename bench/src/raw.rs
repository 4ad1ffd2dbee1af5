//! The raw limit: the record path's own work and nothing else.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use kafka_records::{BatchBuilder, Compression, RecordRef};

/// Bytes a batch is sealed at, and the size of every read.
const CHUNK_BYTES: usize = 1 << 20;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Writes lines of 100 bytes, the line feed included, each with its number; returns how many.
pub(crate) fn write_source(path: &Path, bytes: u64) -> io::Result<u64> {
    let lines = bytes / 100;
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, File::create(path)?);
    for line in 0..lines {
        writeln!(out, "{line:>12} {:x<86}", "")?;
    }
    out.flush()?;
    Ok(lines)
}

/// Reads `source` and hands every sealed batch to `sealed`.
fn encode(source: &Path, mut sealed: impl FnMut(Bytes) -> Outcome<()>) -> Outcome<()> {
    let mut file = File::open(source)?;
    let mut builder = BatchBuilder::new(Compression::None, CHUNK_BYTES + 4096);
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut held = 0;
    loop {
        let free = buffer.get_mut(held..).unwrap_or_default();
        let count = file.read(free)?;
        if count == 0 {
            break;
        }
        let filled = buffer.get(..held + count).unwrap_or_default();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', filled) {
            builder.push(RecordRef {
                timestamp: 1_700_000_000_000,
                key: None,
                value: filled.get(start..end),
                headers: &[],
            });
            start = end + 1;
        }
        held = filled.len() - start;
        buffer.copy_within(start..start + held, 0);
        if builder.encoded_bytes() > CHUNK_BYTES / 2 {
            sealed(builder.finish()?)?;
        }
    }
    if !builder.is_empty() {
        sealed(builder.finish()?)?;
    }
    Ok(())
}

/// Verifies and iterates a batch read back from the log and writes its lines.
fn decode(batch: Bytes, out: &mut impl Write) -> Outcome<()> {
    for batch in kafka_records::batches(batch) {
        let batch = batch?;
        batch.verify()?;
        for record in batch.records(usize::MAX)? {
            if let Some(value) = record?.value {
                out.write_all(&value)?;
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Appends a batch to the log file and returns where it is.
fn append(log: &File, end: &mut u64, batch: &[u8]) -> io::Result<(u64, usize)> {
    let at = *end;
    log.write_all_at(batch, at)?;
    *end += batch.len() as u64;
    Ok((at, batch.len()))
}

fn read_back(log: &File, (at, length): (u64, usize)) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    log.read_exact_at(&mut bytes, at)?;
    Ok(bytes.into())
}

fn log_file(folder: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(folder.join("raw.log"))
}

/// Everything on one thread; seconds it took.
pub(crate) fn one_thread(source: &Path, folder: &Path) -> Outcome<f64> {
    let began = Instant::now();
    let log = log_file(folder)?;
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, File::create(folder.join("raw.txt"))?);
    let mut end = 0;
    encode(source, |batch| {
        let place = append(&log, &mut end, &batch)?;
        decode(read_back(&log, place)?, &mut out)
    })?;
    out.flush()?;
    let seconds = began.elapsed().as_secs_f64();
    clean(folder)?;
    Ok(seconds)
}

/// Encoding and appending on one thread, reading back and writing out on another.
pub(crate) fn two_threads(source: &Path, folder: &Path) -> Outcome<f64> {
    let began = Instant::now();
    let log = log_file(folder)?;
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, File::create(folder.join("raw.txt"))?);
    let (send, places) = mpsc::sync_channel(64);
    std::thread::scope(|scope| -> Outcome<()> {
        let writer = scope.spawn(|| -> Result<(), String> {
            let mut end = 0;
            encode(source, |batch| {
                let place = append(&log, &mut end, &batch)?;
                Ok(send.send(place)?)
            })
            .map_err(|error| error.to_string())?;
            drop(send);
            Ok(())
        });
        for place in places {
            decode(read_back(&log, place)?, &mut out)?;
        }
        writer
            .join()
            .map_err(|_| "the encoding thread panicked")??;
        Ok(())
    })?;
    out.flush()?;
    let seconds = began.elapsed().as_secs_f64();
    clean(folder)?;
    Ok(seconds)
}

fn clean(folder: &Path) -> io::Result<()> {
    std::fs::remove_file(folder.join("raw.log"))?;
    std::fs::remove_file(folder.join("raw.txt"))
}
