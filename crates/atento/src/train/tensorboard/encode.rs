//! The bytes of an event: protocol buffers, TFRecord framing, CRC-32C.

/// What an event says.
pub enum Content<'a> {
    /// The first event of every file.
    FileVersion,
    /// A new process goes on from this step; what was written of it and later steps is void.
    SessionStart,
    /// A point of a curve.
    Scalar { tag: &'a str, value: f32 },
    /// A text.
    Text { tag: &'a str, text: &'a str },
}

/// An `Event` message: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
pub fn event(wall_time: f64, step: i64, content: &Content<'_>) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, wall_time);
    // Protocol buffers leave out what is zero.
    if step != 0 {
        event.varint_field(2, step as u64);
    }
    match *content {
        Content::FileVersion => event.bytes(3, b"brain.Event:2"),
        // SessionLog: 1 status, of which 1 is START.
        Content::SessionStart => event.message(7, |log| log.varint_field(1, 1)),
        Content::Scalar { tag, value } => event.summary(tag, |point| point.float(2, value)),
        Content::Text { tag, text } => event.summary(tag, |value| {
            value.message(8, |tensor| tensor.text_tensor(text));
            value.message(9, |metadata| {
                metadata.message(1, |plugin| plugin.bytes(1, b"text"));
            });
        }),
    }
    event.0
}

/// A TFRecord of `data`.
pub fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc32c(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked_crc32c(data).to_le_bytes());
    record
}

/// A message of protocol buffers in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A field's number and wire type.
    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint_field(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// Event.summary with one Summary.Value: 1 tag, 2 simple_value, 8 tensor, 9 metadata.
    fn summary(&mut self, tag: &str, fill: impl FnOnce(&mut Message)) {
        self.message(5, |summary| {
            summary.message(1, |value| {
                value.bytes(1, tag.as_bytes());
                fill(value);
            });
        });
    }

    /// A TensorProto of one string: 1 dtype, of which 7 is DT_STRING; 2 tensor_shape; 8 string_val.
    fn text_tensor(&mut self, text: &str) {
        self.varint_field(1, 7);
        self.message(2, |shape| shape.message(2, |dim| dim.varint_field(1, 1)));
        self.bytes(8, text.as_bytes());
    }
}

/// The CRC as TFRecords keep it, rotated and shifted, so that the CRC of data that holds CRCs stays useful.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli; RFC 3720, §12.1): polynomial 0x1EDC6F41, reflected.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

/// The remainder of each byte.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { remainder >> 1 ^ 0x82f6_3b78 } else { remainder >> 1 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn crc32c_gives_the_values_of_rfc_3720() {
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&rising), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn events_are_byte_for_byte_those_of_tensorboard() {
        // tensorboard.summary.writer.record_writer.RecordWriter over SerializeToString() of the same events.
        let cases = [
            (
                0,
                Content::FileVersion,
                "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9",
            ),
            (301, Content::SessionStart, "100000000000000095fbfe180900001040fc54d94110ad023a020801cb79b93b"),
            (
                300,
                Content::Scalar { tag: "train/loss", value: 2.3131 },
                "2100000000000000017becf60900001040fc54d94110ac022a130a110a0a747261696e2f6c6f737315d5091440ef7560c0",
            ),
            (
                1,
                Content::Text { tag: "samples", text: "Ein Hund läuft." },
                "3e00000000000000d9d240e70900001040fc54d94110012a310a2f0a0773616d706c6573421a0807120412020801421045696e2048756e64206cc3a47566742e4a080a060a0474657874e3c16d94",
            ),
        ];
        for (step, content, golden) in cases {
            assert_eq!(hex(&record(&event(1_700_000_000.25, step, &content))), golden);
        }
    }
}
