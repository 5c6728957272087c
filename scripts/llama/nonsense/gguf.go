package main

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Types of values and tensors in a GGUF file, version 3
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
const (
	typeUint32  = 4
	typeInt32   = 5
	typeFloat32 = 6
	typeBool    = 7
	typeString  = 8
	typeArray   = 9

	tensorFloat32 = 0
	tensorFloat16 = 1

	alignment = 32
)

// file is a GGUF file in the making.
type file struct {
	values  bytes.Buffer
	count   uint64
	tensors []tensor
}

// tensor is a matrix or, with one row, a vector; columns vary fastest.
type tensor struct {
	name          string
	rows, columns int
	kind          uint32
	data          []byte
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(b, binary.LittleEndian, v) // a buffer takes everything of a fixed size
	}
}

func putString(b *bytes.Buffer, s string) {
	put(b, uint64(len(s)))
	b.WriteString(s)
}

func (f *file) key(name string, kind uint32) {
	f.count++
	putString(&f.values, name)
	put(&f.values, kind)
}

func (f *file) text(name, value string) {
	f.key(name, typeString)
	putString(&f.values, value)
}

func (f *file) number(name string, value int) {
	f.key(name, typeUint32)
	put(&f.values, uint32(value))
}

func (f *file) float(name string, value float32) {
	f.key(name, typeFloat32)
	put(&f.values, value)
}

func (f *file) truth(name string, value bool) {
	f.key(name, typeBool)
	put(&f.values, value)
}

func (f *file) texts(name string, values []string) {
	f.key(name, typeArray)
	put(&f.values, uint32(typeString), uint64(len(values)))
	for _, v := range values {
		putString(&f.values, v)
	}
}

func (f *file) floats(name string, values []float32) {
	f.key(name, typeArray)
	put(&f.values, uint32(typeFloat32), uint64(len(values)), values)
}

func (f *file) integers(name string, values []int32) {
	f.key(name, typeArray)
	put(&f.values, uint32(typeInt32), uint64(len(values)), values)
}

// bytes of the whole file.
func (f *file) bytes() []byte {
	var out bytes.Buffer
	out.WriteString("GGUF")
	put(&out, uint32(3), uint64(len(f.tensors)), f.count)
	out.Write(f.values.Bytes())
	offset := 0
	for _, t := range f.tensors {
		putString(&out, t.name)
		if t.rows == 1 {
			put(&out, uint32(1), uint64(t.columns))
		} else {
			put(&out, uint32(2), uint64(t.columns), uint64(t.rows))
		}
		put(&out, t.kind, uint64(offset))
		offset += padded(len(t.data))
	}
	pad(&out)
	for _, t := range f.tensors {
		out.Write(t.data)
		pad(&out)
	}
	return out.Bytes()
}

func padded(n int) int { return (n + alignment - 1) / alignment * alignment }

func pad(b *bytes.Buffer) { b.Write(make([]byte, padded(b.Len())-b.Len())) }

// half rounds to 16 bits; the weights are small and normal, so that neither
// infinities nor subnormals arise.
func half(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	exponent := int(bits>>23&0xff) - 127 + 15
	if exponent <= 0 {
		return sign
	}
	return sign | uint16(exponent)<<10 | uint16(bits>>13&0x3ff)
}
