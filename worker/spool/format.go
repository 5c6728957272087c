package spool

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// A segment is a sequence of records, each
//
//	marker  4 bytes  where a reader that has lost its way finds the next record
//	length  4 bytes  of the body, little-endian
//	check   4 bytes  CRC-32C of the record's offset, length and body
//	body    kind (1 byte), length of the key (2 bytes), key, data
//
// The offset is part of the check so that a copy of a record inside another
// one's data is never taken for a record.
const (
	headerSize = 12
	bodyPrefix = 3
	maxBody    = bodyPrefix + MaxKey + MaxRecord
)

const (
	kindRecord  = 'R'
	kindConfirm = 'C'
)

func marker() []byte { return []byte{0xF1, 0xEE, 0x7A, 0x0E} }

// raw is a record as it lies in a segment.
type raw struct {
	kind   byte
	key    []byte
	data   []byte
	offset int64
	length int64 // header included
}

// encode appends a record that will lie at the given offset of its segment.
func encode(buf []byte, offset int64, kind byte, key string, data []byte) []byte {
	start := len(buf)
	buf = append(buf, marker()...)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(bodyPrefix+len(key)+len(data)))
	buf = append(buf, 0, 0, 0, 0, kind)
	buf = binary.LittleEndian.AppendUint16(buf, uint16(len(key)))
	buf = append(buf, key...)
	buf = append(buf, data...)
	binary.LittleEndian.PutUint32(buf[start+8:], check(offset, buf[start:]))
	return buf
}

// check computes the checksum of a record.
func check(offset int64, record []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, binary.LittleEndian.AppendUint64(nil, uint64(offset)))
	sum = crc32.Update(sum, table, record[4:8])
	return crc32.Update(sum, table, record[headerSize:])
}

// Why bytes are no record. A torn record ends with the file.
const (
	faultTorn  = "torn record"
	faultNone  = "no record"
	faultCheck = "checksum does not match"
)

// decodeOne reads the record at the beginning of buf, which lies at the given
// offset of its segment.
func decodeOne(buf []byte, offset int64) (raw, string) {
	if !bytes.HasPrefix(buf, marker()[:min(4, len(buf))]) {
		return raw{}, faultNone
	}
	if len(buf) < headerSize {
		return raw{}, faultTorn
	}
	n := int64(binary.LittleEndian.Uint32(buf[4:]))
	if n < bodyPrefix || n > maxBody {
		return raw{}, faultNone
	}
	if headerSize+n > int64(len(buf)) {
		return raw{}, faultTorn
	}
	record := buf[:headerSize+n]
	if check(offset, record) != binary.LittleEndian.Uint32(buf[8:]) {
		return raw{}, faultCheck
	}
	body := record[headerSize:]
	key := int(binary.LittleEndian.Uint16(body[1:]))
	if key > len(body)-bodyPrefix || body[0] != kindRecord && body[0] != kindConfirm {
		return raw{}, faultNone
	}
	return raw{kind: body[0], key: body[bodyPrefix : bodyPrefix+key], data: body[bodyPrefix+key:],
		offset: offset, length: headerSize + n}, ""
}

// decode reads a segment. It returns where the last whole record ends, and what
// cannot be read between whole records or is damaged at the end; an end that
// was merely being written when the machine stopped is not a loss.
func decode(content []byte, each func(raw)) (end int64, losses []Loss) {
	at := int64(0)
	for at < int64(len(content)) {
		r, fault := decodeOne(content[at:], at)
		if fault == "" {
			each(r)
			at += r.length
			end = at
			continue
		}
		next := resume(content, at+1)
		if next < 0 {
			if !unfinished(content[at:], fault) {
				losses = append(losses, Loss{Offset: at, Bytes: int64(len(content)) - at, Reason: fault})
				end = int64(len(content)) // keep the evidence
			}
			return end, losses
		}
		losses = append(losses, Loss{Offset: at, Bytes: next - at, Reason: fault})
		at = next
	}
	return end, losses
}

// resume finds the next whole record at or after an offset, -1 if there is none.
func resume(content []byte, at int64) int64 {
	for at < int64(len(content)) {
		i := bytes.Index(content[at:], marker())
		if i < 0 {
			return -1
		}
		at += int64(i)
		if _, fault := decodeOne(content[at:], at); fault == "" {
			return at
		}
		at++
	}
	return -1
}

// unfinished says whether the end of a segment looks like a write that the
// machine did not finish: cut short, or zeros in place of what was to come.
func unfinished(rest []byte, fault string) bool {
	return fault == faultTorn || !slices.ContainsFunc(rest, func(b byte) bool { return b != 0 })
}
