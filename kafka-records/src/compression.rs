//! The codecs a batch's records may be compressed with.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use crate::RecordError;
use crate::header::COMPRESSION_MASK;

/// A codec, with Kafka's names and ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in xerial framing, as the Java client writes them; raw blocks are read too.
    Snappy,
    /// LZ4 frames with independent blocks.
    Lz4,
    /// Zstandard frames (KIP-110).
    Zstd,
}

/// xerial's stream header: a magic, the version and the oldest compatible version.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
/// Bytes per snappy block, as the Java client cuts them.
const XERIAL_BLOCK: usize = 32 * 1024;
/// Largest window of a zstd frame that is accepted (2^27 = 128 MiB, what level 22 uses), and the smallest limit.
const ZSTD_WINDOW_LOG: (u32, u32) = (23, 27);
/// Kafka's default.
const ZSTD_LEVEL: i32 = 3;

impl Compression {
    /// Every codec.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec's id in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec's name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Appends `input` compressed to `out`.
    pub(crate) fn compress(self, input: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.try_compress(input, out)
            .map_err(|error| RecordError::Compress {
                codec: self,
                reason: error.to_string(),
            })
    }

    fn try_compress(self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => out.extend_from_slice(input),
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder.write_all(input)?;
                encoder.finish()?;
            }
            Self::Snappy => {
                out.extend_from_slice(&XERIAL_HEADER);
                let mut encoder = snap::raw::Encoder::new();
                for block in input.chunks(XERIAL_BLOCK) {
                    let compressed = encoder.compress_vec(block).map_err(io::Error::other)?;
                    let len = u32::try_from(compressed.len()).map_err(io::Error::other)?;
                    out.extend_from_slice(&len.to_be_bytes());
                    out.extend_from_slice(&compressed);
                }
            }
            Self::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
                encoder.write_all(input)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.set_pledged_src_size(Some(input.len() as u64))?;
                encoder.write_all(input)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }

    /// Decompresses a whole block, at most `max` bytes of it.
    pub(crate) fn decompress(self, input: &[u8], max: usize) -> Result<Vec<u8>, RecordError> {
        let decompressed = match self {
            Self::None => Ok(input.to_vec()),
            Self::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(input), input.len(), max),
            Self::Snappy => decompress_snappy(input, max),
            Self::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(input), input.len(), max),
            Self::Zstd => decompress_zstd(input, max),
        };
        match decompressed {
            Ok(bytes) if bytes.len() > max => {
                Err(RecordError::DecompressedTooLarge { codec: self, max })
            }
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(RecordError::Decompress {
                codec: self,
                reason: error.to_string(),
            }),
        }
    }
}

/// Reads up to one byte more than `max`, so that the caller sees that it was too much.
fn read_bounded(reader: impl Read, compressed: usize, max: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(compressed.saturating_mul(3).min(max));
    reader
        .take((max as u64).saturating_add(1))
        .read_to_end(&mut out)?;
    Ok(out)
}

fn decompress_zstd(input: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    let wanted = usize::BITS - max.leading_zeros();
    decoder.window_log_max(wanted.clamp(ZSTD_WINDOW_LOG.0, ZSTD_WINDOW_LOG.1))?;
    read_bounded(decoder, input.len(), max)
}

fn decompress_snappy(input: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        decompress_snappy_block(input, max, &mut out)?;
        return Ok(out);
    }
    let mut rest = input.get(XERIAL_HEADER.len()..).unwrap_or_default();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        let Some((block, next)) = after.split_at_checked(len) else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a framed block is cut off",
            ));
        };
        decompress_snappy_block(block, max, &mut out)?;
        if out.len() > max {
            return Ok(out);
        }
        rest = next;
    }
    if rest.is_empty() {
        Ok(out)
    } else {
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "a framed block's length is cut off",
        ))
    }
}

fn decompress_snappy_block(block: &[u8], max: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let len = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    let start = out.len();
    // Snappy cannot shrink data by more than about 21 times, so a larger claim is a lie.
    if len > block.len().saturating_mul(64) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a block claims an impossible length",
        ));
    }
    let end = start.saturating_add(len);
    if end > max {
        out.resize(max.saturating_add(1), 0);
        return Ok(());
    }
    out.resize(end, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new()
        .decompress(block, target)
        .map_err(io::Error::other)?;
    Ok(())
}

impl TryFrom<i16> for Compression {
    type Error = RecordError;

    /// The codec in a batch's attributes; other bits are ignored.
    fn try_from(attributes: i16) -> Result<Self, RecordError> {
        match attributes & COMPRESSION_MASK {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            id => Err(RecordError::UnknownCompression { id }),
        }
    }
}

impl FromStr for Compression {
    type Err = RecordError;

    fn from_str(name: &str) -> Result<Self, RecordError> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| RecordError::UnknownCompressionName {
                name: name.to_owned(),
            })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Vec<u8> {
        (0..bytes)
            .map(|i| b"the quick brown fox "[i % 20] ^ ((i / 977) as u8 & 3))
            .collect()
    }

    #[test]
    fn every_codec_gives_back_what_it_got() {
        for codec in Compression::ALL {
            for bytes in [0, 1, 100, 32 * 1024, 32 * 1024 + 1, 300_000] {
                let input = text(bytes);
                let mut packed = Vec::new();
                codec.compress(&input, &mut packed).unwrap();
                assert_eq!(
                    codec.decompress(&packed, bytes).unwrap(),
                    input,
                    "{codec} {bytes}"
                );
            }
        }
    }

    #[test]
    fn decompression_stops_at_the_limit() {
        for codec in [
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let mut packed = Vec::new();
            codec.compress(&vec![0; 1 << 20], &mut packed).unwrap();
            let error = codec.decompress(&packed, 1000).unwrap_err();
            assert_eq!(
                error,
                RecordError::DecompressedTooLarge { codec, max: 1000 }
            );
        }
    }

    #[test]
    fn raw_snappy_is_read() {
        let input = text(10_000);
        let packed = snap::raw::Encoder::new().compress_vec(&input).unwrap();
        assert_eq!(
            Compression::Snappy.decompress(&packed, 10_000).unwrap(),
            input
        );
    }

    #[test]
    fn concatenated_frames_are_read() {
        for codec in [Compression::Gzip, Compression::Zstd] {
            let mut packed = Vec::new();
            codec.compress(b"one", &mut packed).unwrap();
            codec.compress(b"two", &mut packed).unwrap();
            assert_eq!(
                codec.decompress(&packed, 100).unwrap(),
                b"onetwo",
                "{codec}"
            );
        }
    }

    #[test]
    fn any_cut_of_a_block_is_an_error_or_shorter_but_never_a_panic() {
        let input = text(5000);
        for codec in [
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let mut packed = Vec::new();
            codec.compress(&input, &mut packed).unwrap();
            for cut in 0..packed.len() {
                if let Ok(bytes) = codec.decompress(&packed[..cut], 10_000) {
                    assert!(bytes.len() < input.len() || bytes == input, "{codec} {cut}");
                }
            }
        }
    }

    #[test]
    fn names_and_ids_are_kafkas() {
        for codec in Compression::ALL {
            assert_eq!(codec.name().parse::<Compression>().unwrap(), codec);
            assert_eq!(Compression::try_from(codec.id() | 0x78).unwrap(), codec);
        }
        assert!("LZ4".parse::<Compression>().is_err());
        assert_eq!(
            Compression::try_from(5),
            Err(RecordError::UnknownCompression { id: 5 })
        );
    }
}
