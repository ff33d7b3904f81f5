package twister

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fullest returns the header with the most in it that a piece can have.
func fullest() *header {
	return &header{
		k: maxNumber, receipt: &receipt{epoch: 1<<32 - 1, number: maxNumber},
		piece: &piece{
			epoch: 1<<32 - 1, number: maxNumber, back: 2 * maxAhead, index: maxPieces - 2, count: maxPieces, data: bytes.Repeat([]byte{0xff}, pieceSize),
		},
	}
}

func TestAtLeast85PercentOfAFullMessageIsFrame(t *testing.T) {
	text := fullest().text()
	require.LessOrEqual(t, len(text), maxText)
	share := float64(pieceSize) / maxText
	require.GreaterOrEqual(t, share, 0.85)
	t.Logf("%d of %d bytes, %.1f %%; the largest frame of %d bytes is %d messages", pieceSize, maxText, 100*share, MaxPayload, maxPieces)
	got, err := parsePiece(text)
	require.NoError(t, err)
	require.Equal(t, fullest(), got)
}

func TestMessagesLookAsTheyAlwaysDid(t *testing.T) {
	for _, tt := range []struct {
		h    header
		data string // what the text packs
	}{
		{
			header{k: 7, piece: &piece{epoch: 0x5f3e1234, number: 1, count: 1, uuid: "u", data: []byte("frame")}},
			"2c 07 5f3e1234 01 00 01 75 6672616d65",
		},
		{
			header{k: 300, receipt: &receipt{epoch: 1, number: 200}, piece: &piece{epoch: 2, number: 9, back: 3, index: 1, count: 2, unreceipted: true, asks: true, data: []byte("x")}},
			"55 ac02 00000001 c801 00000002 09 03 01 01 78",
		},
		{
			header{k: 1, receipt: &receipt{epoch: 1, number: 2, view: &view{seen: 40, frames: []partial{{number: 3, have: []byte{5}}, {number: 5}}}}},
			"03 01 00000001 02 28 02 01 01 05 02 00",
		},
	} {
		packed, err := hex.DecodeString(strings.ReplaceAll(tt.data, " ", ""))
		require.NoError(t, err)
		require.Equal(t, string(appendText([]byte("w1:"), packed)), tt.h.text())
		got, err := parsePiece(tt.h.text())
		require.NoError(t, err)
		require.Equal(t, &tt.h, got)
	}
}

func TestTextsOfTheSamePieceDiffer(t *testing.T) {
	h := header{piece: &piece{epoch: 1, number: 1, count: 1, data: []byte("x")}}
	first := h.text()
	h.k++
	require.NotEqual(t, first, h.text())
}

func TestWhatIsNotWrittenIsNotRead(t *testing.T) {
	packed := func(hexadecimal string) string {
		data, err := hex.DecodeString(strings.ReplaceAll(hexadecimal, " ", ""))
		require.NoError(t, err)
		return string(appendText([]byte("w1:"), data))
	}
	for name, text := range map[string]string{
		"nothing":                     "w1:",
		"another format":              `{"topic":"a"}`,
		"neither receipt nor piece":   packed("00 01"),
		"an unknown flag":             packed("8c 01 00000001 01 00 78"),
		"a view without a receipt":    packed("02 01"),
		"a number in a long form":     packed("0c 8100 00000001 01 00 78"),
		"frame 0":                     packed("0c 01 00000001 00 00 78"),
		"waiting for before frame 1":  packed("0c 01 00000001 01 01 78"),
		"an index beyond the count":   packed("04 01 00000001 01 00 02 01 78"),
		"a count of one, spelled out": packed("04 01 00000001 01 00 00 00 78"),
		"a short piece in the middle": packed("04 01 00000001 01 00 00 01 78"),
		"too many pieces":             packed("04 01 00000001 01 00 00 ff7f 78"),
		"an empty last piece":         packed("04 01 00000001 01 00 01 01"),
		"cut off":                     packed("0c 01 0000"),
		"something behind a receipt":  packed("01 01 00000001 01 78"),
		"the same frame twice":        packed("03 01 00000001 02 28 02 01 00 00 00"),
		"too long":                    "w1:" + strings.Repeat("x", maxText),
	} {
		_, err := parsePiece(text)
		require.ErrorIs(t, err, errMalformed, name)
	}
}

func TestLargestFrameIsCutAndJoined(t *testing.T) {
	for _, size := range []int{0, 1, pieceSize - 1, pieceSize, pieceSize + 1, MaxPayload} {
		frame := make([]byte, size)
		for i := range frame {
			frame[i] = byte(rand.Uint32())
		}
		o := newOrigin("bob", Config{}, newStatus(quietLog()))
		for k, index := range rand.Perm(piecesOf(frame)) {
			h := header{k: k, piece: &piece{epoch: 1, number: 1, index: index, count: piecesOf(frame), uuid: uuidOf(frame, index, "uuid"), data: pieceOf(frame, index)}}
			got, err := parsePiece(h.text())
			require.NoError(t, err)
			o.take(got.piece, k, time.Now())
		}
		require.Len(t, o.ready, 1)
		require.True(t, bytes.Equal(frame, o.ready[0].payload))
		if size%pieceSize < pieceSize-100 && size%pieceSize > 0 || size == 0 {
			require.Equal(t, "uuid", o.ready[0].uuid)
		}
	}
}

// What the parser takes is exactly what the writer makes.
func FuzzOnlyMessagesAreParsed(f *testing.F) {
	f.Add(fullest().text())
	f.Add((&header{k: 1, receipt: &receipt{epoch: 1, number: 2, view: &view{seen: 40, frames: []partial{{number: 3, have: []byte{5}}, {number: 5}}}}}).text())
	f.Add((&header{k: 7, piece: &piece{epoch: 1, number: 1, count: 1, uuid: "u", data: []byte("frame")}}).text())
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parsePiece(text)
		if err == nil {
			require.Equal(t, text, h.text())
		}
	})
}

// Whatever a sender writes, what is kept of it stays within bounds and frames become ready in order.
func FuzzPiecesAreBounded(f *testing.F) {
	f.Add([]byte{1, 0, 0, 1, 3, 1, 2, 0, 1, 2, 3, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		o := newOrigin("mallory", Config{ResendAfter: time.Minute}, newStatus(quietLog()))
		now := time.Now()
		for k := 0; len(script) >= 4; k++ {
			p := &piece{epoch: uint32(script[0] % 4), number: 1 + int(script[1]), count: 1 + int(script[2])%maxPieces, unreceipted: script[0]&0x80 != 0}
			p.index = int(script[3]) % p.count
			p.back = int(script[3]) % p.number
			p.data = make([]byte, pieceSize)
			script = script[4:]
			o.take(p, k, now)
			now = now.Add(time.Second)
			o.expire(now)
		}
		held := 0
		for _, a := range o.frames {
			held += a.bytes
		}
		number := 0
		for _, it := range o.ready {
			held += len(it.payload)
			require.Equal(t, o.epoch, it.epoch)
			require.Greater(t, it.number, number)
			number = it.number
		}
		require.Equal(t, held, o.held)
		require.LessOrEqual(t, held, maxHeld)
		require.LessOrEqual(t, len(o.frames), 2*maxAhead)
		require.Less(t, number, o.next)
	})
}
