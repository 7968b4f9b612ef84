//! TensorBoard event files: the same scalars as `metrics.jsonl`, for the viewer people have.
//!
//! Writes the three protocol buffers that scalars need by hand: `Event`, `Summary` and `SessionLog`
//! (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto), in the framing of
//! tensorflow/core/lib/io/record_writer.cc. Leaves out every other kind of summary. A file says when
//! it was written, so unlike the journal it differs between two equal runs. A resumed run adds a
//! file, whose first record tells the reader to drop the steps that are written anew.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::JournalError;
use crate::store::{StoreError, names};

const PREFIX: &str = "events.out.tfevents.";

/// The open event file of a running run.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl EventWriter {
    /// Starts an event file in `folder`. `now` is in seconds since 1970, UTC; `host` names the
    /// machine in the file's name.
    ///
    /// # Errors
    /// The file cannot be made, or the disk is full.
    pub fn start(folder: &Path, host: &str, now: f64) -> Result<Self, JournalError> {
        let (path, file) = create(folder, host, now)?;
        let mut writer = Self { path, file, bytes: 0 };
        writer.write(&event(now, 0, &text_field(FILE_VERSION, b"brain.Event:2")))?;
        Ok(writer)
    }

    /// Goes on in a new file; whatever earlier files hold of `next_step` and later is void.
    ///
    /// # Errors
    /// As of [`EventWriter::start`].
    pub fn resume(
        folder: &Path,
        host: &str,
        now: f64,
        next_step: u64,
    ) -> Result<Self, JournalError> {
        let mut writer = Self::start(folder, host, now)?;
        let start = varint_field(STATUS, SESSION_START);
        writer.write(&event(now, next_step, &text_field(SESSION_LOG, &start)))?;
        Ok(writer)
    }

    /// Writes the scalars of a step, rounded to single precision.
    ///
    /// # Errors
    /// The disk is full or the system refuses: nothing is written.
    pub fn scalars<N: AsRef<str>>(
        &mut self,
        step: u64,
        now: f64,
        values: &[(N, f64)],
    ) -> Result<(), JournalError> {
        let summary: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| {
                let mut scalar = text_field(TAG, tag.as_ref().as_bytes());
                scalar.extend(float_field(SIMPLE_VALUE, *value as f32));
                text_field(VALUE, &scalar)
            })
            .collect();
        self.write(&event(now, step, &text_field(SUMMARY, &summary)))
    }

    fn write(&mut self, event: &[u8]) -> Result<(), JournalError> {
        let record = record(event);
        if let Err(source) = self.file.write_all(&record) {
            // The write is the error to report; readers skip a record that is cut short.
            let _ = self.file.set_len(self.bytes);
            return Err(StoreError::at("write", &self.path, source).into());
        }
        self.bytes += record.len() as u64;
        Ok(())
    }
}

/// This machine's name for the event file: as the system tells it, or `localhost`.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    match name.trim() {
        name if !name.is_empty() && name.chars().all(fits) => name.to_owned(),
        _ => "localhost".to_owned(),
    }
}

/// Makes a file that sorts behind the earlier ones, since TensorBoard reads them in the order of
/// their names, also if the clock was set back.
fn create(folder: &Path, host: &str, now: f64) -> Result<(PathBuf, File), StoreError> {
    let seconds_in = |name: &String| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok();
    let latest = names(folder)?.iter().filter_map(seconds_in).max();
    let seconds = latest.map_or(now as u64, |latest: u64| (latest + 1).max(now as u64));
    let path = folder.join(format!("{PREFIX}{seconds:010}.{host}"));
    let file = File::create_new(&path).map_err(|error| StoreError::at("create", &path, error))?;
    Ok((path, file))
}

// Field numbers of the protocol buffers.
const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const SESSION_LOG: u64 = 7;
const VALUE: u64 = 1;
const TAG: u64 = 1;
const SIMPLE_VALUE: u64 = 2;
const STATUS: u64 = 1;
const SESSION_START: u64 = 1;

// Wire types of the protocol buffers.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH_FIRST: u64 = 2;
const FOUR_BYTES: u64 = 5;

fn event(now: f64, step: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = varint(WALL_TIME << 3 | EIGHT_BYTES);
    bytes.extend(now.to_le_bytes());
    // A field at its default is left out.
    if step > 0 {
        bytes.extend(varint_field(STEP, step));
    }
    bytes.extend(content);
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint_field(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3 | VARINT), varint(value)].concat()
}

fn float_field(number: u64, value: f32) -> Vec<u8> {
    [varint(number << 3 | FOUR_BYTES), value.to_le_bytes().to_vec()].concat()
}

/// A text, or a message within a message.
fn text_field(number: u64, text: &[u8]) -> Vec<u8> {
    [varint(number << 3 | LENGTH_FIRST), varint(text.len() as u64), text.to_vec()].concat()
}

/// Length and event, each with its checksum.
fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let checksum = |bytes| masked(crc32c(bytes)).to_le_bytes();
    [&length[..], &checksum(&length), event, &checksum(event)].concat()
}

/// A checksum of bytes that contain their own checksum is weak: hence the mask.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The Castagnoli checksum of RFC 3720, B.4, a byte at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| CRC_OF_BYTE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            // The polynomial, its bits reversed.
            crc = (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78);
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Written by the tensorboard package: `tests/golden/read_events.py --golden`.
    const GOLDEN: &str = include_str!("../../../../tests/golden/read_events.json");
    const NOW: f64 = 1_700_000_000.25;

    fn golden(part: &str) -> Value {
        serde_json::from_str::<Value>(GOLDEN).unwrap()[part].clone()
    }

    fn record_of(name: &str) -> String {
        golden("records")[name].as_str().unwrap().to_owned()
    }

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn event_files(folder: &Path) -> Vec<(String, String)> {
        let read = |name: String| {
            let bytes = fs::read(folder.join(&name)).unwrap();
            (name, hexadecimal(&bytes))
        };
        names(folder).unwrap().into_iter().map(read).collect()
    }

    #[test]
    fn checksums_are_tensorboards() {
        // RFC 3720, B.4
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let cases = golden("checksums");
        for case in cases.as_array().unwrap() {
            let crc = crc32c(case["text"].as_str().unwrap().as_bytes());
            assert_eq!(u64::from(crc), case["crc32c"].as_u64().unwrap(), "{case}");
            assert_eq!(u64::from(masked(crc)), case["masked"].as_u64().unwrap(), "{case}");
        }
        assert_eq!(cases.as_array().unwrap().len(), 4);
    }

    #[test]
    fn records_are_tensorboards_byte_by_byte() {
        let check = |name: &str, step: u64, values: &[(&str, f64)]| {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = EventWriter::start(folder.path(), "host", NOW).unwrap();
            writer.scalars(step, NOW, values).unwrap();
            let (file, contents) = event_files(folder.path()).remove(0);
            assert_eq!(file, "events.out.tfevents.1700000000.host");
            assert_eq!(contents, record_of("version") + &record_of(name), "{name}");
        };
        check("scalars", 300, &[("reward", 0.1), ("rewards/triple_f1/mean", -2.5), ("kl", 0.0)]);
        check("step_zero", 0, &[("é", 1e-30)]);
        check("large_step", 1 << 62, &[(&"x".repeat(200), 3.5)]);
    }

    #[test]
    fn a_resumed_run_adds_a_later_file_that_voids_the_steps_to_come() {
        let folder = tempfile::tempdir().unwrap();
        EventWriter::start(folder.path(), "b", NOW).unwrap();
        // In the same second, and with the clock set back.
        EventWriter::resume(folder.path(), "a", NOW, 120).unwrap();
        EventWriter::resume(folder.path(), "a", NOW - 9.0, 120).unwrap();
        let files = event_files(folder.path());
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "events.out.tfevents.1700000000.b",
                "events.out.tfevents.1700000001.a",
                "events.out.tfevents.1700000002.a"
            ]
        );
        assert_eq!(files[1].1, record_of("version") + &record_of("start"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::start(folder.path(), "host", NOW).unwrap();
        writer.file = File::options().write(true).open("/dev/full").unwrap();
        let refused = writer.scalars(1, NOW, &[("kl", 0.5)]).unwrap_err();
        assert!(matches!(refused, JournalError::Store(StoreError::DiskFull { .. })), "{refused:?}");
    }
}
