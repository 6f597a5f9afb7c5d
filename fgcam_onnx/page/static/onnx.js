/**
 * Reads what an ONNX file says of itself, without a protobuf library: ModelProto.metadata_props, field 14.
 * Field numbers are those of onnx.proto3 (github.com/onnx/onnx).
 */

const METADATA_PROPS = 14;
const WIRE = { VARINT: 0, EIGHT_BYTES: 1, LENGTH: 2, FOUR_BYTES: 5 };

/**
 * @param {Uint8Array} bytes
 * @returns {Map<string, string>} empty where there is none
 * @throws {Error} when the bytes are no protobuf
 */
export function readMetadata(bytes) {
  const found = new Map();
  for (const { field, value } of messages(bytes)) {
    if (field !== METADATA_PROPS) continue;
    const entry = Object.fromEntries([...messages(value)].map((part) => [part.field, text(part.value)]));
    found.set(entry[1] ?? "", entry[2] ?? "");
  }
  return found;
}

/** Yield the length-delimited fields of a message; others are passed over. */
function* messages(bytes) {
  let at = 0;
  const varint = () => {
    let number = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.length) throw new Error("ends in the middle of a number");
      const byte = bytes[at++];
      number += (byte & 127) * 2 ** shift;
      if (byte < 128) return number;
    }
    throw new Error("holds a number that is too long");
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire === WIRE.LENGTH) {
      const length = varint();
      if (at + length > bytes.length) throw new Error("ends in the middle of a field");
      yield { field: Math.floor(tag / 8), value: bytes.subarray(at, at + length) };
      at += length;
    } else if (wire === WIRE.VARINT) varint();
    else if (wire === WIRE.EIGHT_BYTES) at += 8;
    else if (wire === WIRE.FOUR_BYTES) at += 4;
    else throw new Error("is not protobuf");
  }
}

const text = (bytes) => new TextDecoder().decode(bytes);
