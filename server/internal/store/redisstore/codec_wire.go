package redisstore

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// writer appends fields in protobuf's wire format.
type writer struct{ buf []byte }

// uint writes an unsigned number, even 0.
func (w *writer) uint(num protowire.Number, v uint64) {
	w.buf = protowire.AppendTag(w.buf, num, protowire.VarintType)
	w.buf = protowire.AppendVarint(w.buf, v)
}

// int writes a signed number as zigzag, even 0.
func (w *writer) int(num protowire.Number, v int64) { w.uint(num, protowire.EncodeZigZag(v)) }

// bool writes true or false.
func (w *writer) bool(num protowire.Number, v bool) { w.uint(num, protowire.EncodeBool(v)) }

// fixed writes a hash in 8 bytes. A varint would not make it shorter.
func (w *writer) fixed(num protowire.Number, v uint64) {
	w.buf = protowire.AppendTag(w.buf, num, protowire.Fixed64Type)
	w.buf = protowire.AppendFixed64(w.buf, v)
}

// text writes a string, even an empty one.
func (w *writer) text(num protowire.Number, v string) {
	w.buf = protowire.AppendTag(w.buf, num, protowire.BytesType)
	w.buf = protowire.AppendString(w.buf, v)
}

// textIf writes a string unless it is empty.
func (w *writer) textIf(num protowire.Number, v string) {
	if v != "" {
		w.text(num, v)
	}
}

// intIf writes a signed number unless it is 0.
func (w *writer) intIf(num protowire.Number, v int64) {
	if v != 0 {
		w.int(num, v)
	}
}

// trueIf writes true. It writes nothing if v is false.
func (w *writer) trueIf(num protowire.Number, v bool) {
	if v {
		w.bool(num, v)
	}
}

// field is one field. The value is in number or, for bytes, in text, which aliases the input.
type field struct {
	num    protowire.Number
	kind   protowire.Type
	number uint64
	text   []byte
	raw    []byte // tag and value, to keep unknown fields
}

// nextField reads the first field of buf and returns the rest of buf.
func nextField(buf []byte) (f field, rest []byte, err error) {
	num, kind, tag := protowire.ConsumeTag(buf)
	if tag < 0 {
		return field{}, nil, corrupt("a field's tag")
	}
	f = field{num: num, kind: kind}
	var n int
	switch kind {
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(buf[tag:])
	case protowire.Fixed64Type:
		f.number, n = protowire.ConsumeFixed64(buf[tag:])
	case protowire.BytesType:
		f.text, n = protowire.ConsumeBytes(buf[tag:])
	default:
		n = protowire.ConsumeFieldValue(num, kind, buf[tag:])
	}
	if n < 0 {
		return field{}, nil, corrupt("a field's value")
	}
	f.raw = buf[:tag+n]
	return f, buf[tag+n:], nil
}

// eachField calls take for each field of buf. It collects no fields, so the memory that hostile bytes can use is proportional to
// their number.
func eachField(buf []byte, take func(field)) error {
	for len(buf) > 0 {
		f, rest, err := nextField(buf)
		if err != nil {
			return err
		}
		take(f)
		buf = rest
	}
	return nil
}

// reader reads the values of fields and keeps the first error.
type reader struct{ err error }

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = corrupt(what)
	}
}

// uint returns a varint up to limit.
func (r *reader) uint(f field, limit uint64) uint64 {
	if f.kind != protowire.VarintType || f.number > limit {
		r.fail("a number")
		return 0
	}
	return f.number
}

// int64 returns a zigzag number.
func (r *reader) int64(f field) int64 {
	if f.kind != protowire.VarintType {
		r.fail("a number")
	}
	return protowire.DecodeZigZag(f.number)
}

// int32 returns a zigzag number that fits into 32 bits.
func (r *reader) int32(f field) int32 {
	v := r.int64(f)
	if int64(int32(v)) != v {
		r.fail("a number's size")
	}
	return int32(v)
}

func (r *reader) bool(f field) bool { return r.uint(f, 1) == 1 }

func (r *reader) fixed(f field) uint64 {
	if f.kind != protowire.Fixed64Type {
		r.fail("a hash")
	}
	return f.number
}

func (r *reader) bytes(f field) []byte {
	if f.kind != protowire.BytesType {
		r.fail("a text")
	}
	return f.text
}

func (r *reader) text(f field) string { return string(r.bytes(f)) }
