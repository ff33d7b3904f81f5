package twister

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func randomBytes(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.IntN(256))
	}
	return data
}

func FuzzPartsCarryAnyBytes(f *testing.F) {
	f.Add([]byte(nil), false)
	f.Add([]byte("#@#@ £§ "), true)
	f.Add(randomBytes(5000), false)
	f.Add(bytes.Repeat([]byte{0x46, 0x8d, 0x1a, 0x34}, 2000), true) // many marks
	f.Fuzz(func(t *testing.T, data []byte, bare bool) {
		id := frameID("x")
		var got []byte
		texts := split(data, bare, "x")
		for i, text := range texts {
			require.LessOrEqual(t, len(text), maxPostText)
			require.NotContains(t, text, "#")
			require.NotContains(t, text, "@")
			p, err := parsePart(text)
			require.NoError(t, err)
			require.Equal(t, part{last: i == len(texts)-1, bare: bare, id: id, index: i, uuid: p.uuid, data: p.data}, *p)
			got = append(got, p.data...)
		}
		require.True(t, bytes.Equal(data, got))
	})
}

func FuzzOnlyPartsAreParsed(f *testing.F) {
	f.Add((&part{last: true, data: []byte("x")}).text())
	f.Add("w1:")
	f.Add("w1:#@")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parsePart(text); err == nil {
			require.Equal(t, text, p.text())
		}
	})
}

// How much of a public post is frame? (the cost of hiding # and @ included)
func TestPublicPostsAreFilled(t *testing.T) {
	random := randomBytes(100_000)
	texts := split(random, false, "x")
	require.Greater(t, float64(len(random))/float64(len(texts)*maxPostText), 0.84)
}
