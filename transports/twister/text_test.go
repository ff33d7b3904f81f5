package twister

import (
	"bytes"
	"encoding/base64"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Is text valid UTF-8 of the length that was foretold, shorter than base64, and the same bytes again?
func FuzzTextIsReversible(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0xff, 0, 0x80})
	f.Add(bytes.Repeat([]byte("weft"), 400))
	f.Fuzz(func(t *testing.T, data []byte) {
		text := appendText(nil, data)
		require.True(t, utf8.Valid(text))
		require.Len(t, text, textLen(len(data)))
		require.LessOrEqual(t, len(text), base64.RawStdEncoding.EncodedLen(len(data)))
		require.Equal(t, len(data), bytesIn(len(text)))
		back, err := parseText(string(text))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, back))
	})
}

// Is every text but that of some bytes refused, so that no two texts mean the same?
func FuzzOnlyTextIsParsed(f *testing.F) {
	f.Add("")
	f.Add("\x7f")
	f.Add("\x7f\x01")
	f.Add("é")
	f.Fuzz(func(t *testing.T, text string) {
		data, err := parseText(text)
		if err != nil {
			require.ErrorIs(t, err, errNotText)
			return
		}
		require.Equal(t, text, string(appendText(nil, data)))
	})
}

// How densely do the candidates pack a frame of compressed readings? (the figures of the comment in text.go)
func TestTextIsDenserThanBase64(t *testing.T) {
	const frame = 1400
	assert.InDelta(t, 0.875, float64(frame)/float64(textLen(frame)), 0.001)
	assert.InDelta(t, 0.75, float64(frame)/float64(base64.RawStdEncoding.EncodedLen(frame)), 0.001)
}
