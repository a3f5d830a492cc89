package index

import "hash/crc32"

// The checksum of joined texts. A CRC-32 is the text, as a polynomial over
// GF(2), modulo the generator P; appending n bytes multiplies what stands
// before them by x^(8n). Hence crc(a+b) = crc(a)*x^(8*len(b)) + crc(b) mod P:
// the initial and final complements that RFC 1952 §8 asks for cancel out.
// Polynomials are reflected as in package hash/crc32: the top bit is x^0.

// mulMod is a*b mod P.
func mulMod(a, b uint32) uint32 {
	var p uint32
	for i := 31; i >= 0; i-- {
		p ^= b & -(a >> i & 1)
		b = b>>1 ^ crc32.IEEE&-(b&1)
	}
	return p
}

// shiftOf is x^(8n) mod P, by repeated squaring.
func shiftOf(n int) uint32 {
	r, x := uint32(1)<<31, uint32(1)<<23 // x^0 and x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			r = mulMod(r, x)
		}
		x = mulMod(x, x)
	}
	return r
}

// joinCRC is the CRC-32 of a text with checksum a followed by one with
// checksum b, where shift is shiftOf the second text's length.
func joinCRC(a, b, shift uint32) uint32 { return mulMod(a, shift) ^ b }
