package frame

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Codecs: the first byte of a body.
const (
	codecNone = 0
	codecZstd = 1
)

// minCompress is the size in bytes below which zstd saves nothing worth its time.
const minCompress = 128

var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(256<<10), zstd.WithEncoderCRC(false)) // the signature covers the frame
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSize), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// compress returns the body with its codec before it: zstd if that saves at least a sixteenth, else as it is.
func compress(plain []byte) []byte {
	if len(plain) >= minCompress {
		if packed := encoder().EncodeAll(plain, []byte{codecZstd}); len(packed) < len(plain)-len(plain)/16 {
			return packed
		}
	}
	return append([]byte{codecNone}, plain...)
}

func decompress(body []byte) ([]byte, error) {
	switch {
	case len(body) == 0:
		return nil, errors.New("empty body")
	case body[0] == codecNone:
		return body[1:], nil
	case body[0] == codecZstd:
		return decoder().DecodeAll(body[1:], nil)
	}
	return nil, errors.New("unknown compression")
}
