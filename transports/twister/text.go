package twister

import (
	"errors"
	"fmt"
)

// Bytes as text. Of what the daemon carries unharmed, the characters of one byte are 128, so that a byte of text carries seven
// bits: 0.875 of its length, where base64 carries 0.75 and base85 0.8. All of UTF-8 would carry 0.897 at most (the solution of
// 1 = 128/x + 1920/x² + 61440/x³ + 1048576/x⁴ is 144.6, seven bits and a sixth), at the price of arithmetic coding. Eight bits
// would cross in direct messages, but what the daemon then answers is no JSON for the user's other programs.

var errNotText = errors.New("not text of seven bits a byte")

// textLen returns how long the text of n bytes is.
func textLen(n int) int { return (8*n + 6) / 7 }

// bytesIn returns how many bytes a text of length n holds.
func bytesIn(n int) int { return 7 * n / 8 }

// appendText appends data as text.
func appendText(text, data []byte) []byte {
	acc, bits := uint(0), 0
	for _, b := range data {
		acc, bits = acc<<8|uint(b), bits+8
		for bits >= 7 {
			bits -= 7
			text = append(text, byte(acc>>bits)&0x7f)
		}
	}
	if bits > 0 {
		text = append(text, byte(acc<<(7-bits))&0x7f)
	}
	return text
}

// parseText returns the bytes that appendText made the text of, and an error for what it never makes.
func parseText(text string) ([]byte, error) {
	data := make([]byte, 0, bytesIn(len(text)))
	acc, bits := uint(0), 0
	for i := range len(text) {
		if text[i] > 0x7f {
			return nil, fmt.Errorf("%w: byte %#x at %d", errNotText, text[i], i)
		}
		acc, bits = acc<<7|uint(text[i]), bits+7
		if bits >= 8 {
			bits -= 8
			data = append(data, byte(acc>>bits))
		}
	}
	if textLen(len(data)) != len(text) || acc&(1<<bits-1) != 0 {
		return nil, fmt.Errorf("%w: cut off", errNotText)
	}
	return data, nil
}
